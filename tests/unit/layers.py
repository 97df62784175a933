# SPDX-License-Identifier: ISC
"""Checks the rules of CONTRIBUTING.md that a machine can check, and then that each check can fail.

Which folder may include which is written in src/.may-include (the order of the layers) and in the
.may-include of each folder.  Run it alone: python3 tests/unit/layers.py
"""
import os
import re
import shutil
import subprocess
import tempfile

FILE_LINES = 800
FUNCTION_LINES = 70
COLUMNS = 120
# Headers that no folder sees unless its .may-include names them.
RESERVED = {"<ares.h>", "<confuse.h>", "<pcre2.h>", "<sys/epoll.h>", "<microhttpd.h>", "<curl/curl.h>", "<ncurses.h>"}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"][^>"]+[>"])')
COMMENTS = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)


def find_ctags():
    """The path of universal-ctags, or None."""
    path = shutil.which("ctags-universal") or shutil.which("ctags")
    if path and "Universal Ctags" in subprocess.run([path, "--version"], capture_output=True, text=True).stdout:
        return path
    return None


CTAGS = find_ctags()


def words(path):
    """The entries of a .may-include."""
    with open(path, encoding="utf-8") as file:
        lines = (line.split("#")[0].strip() for line in file)
        return [line for line in lines if line]


class Tree:
    """A source tree: its C files below src/ and tests/, as relative path -> list of lines."""

    def __init__(self, root):
        self.root = root
        self.files = {}
        for top in ("src", "ctl", "tests"):
            for folder, _, names in os.walk(os.path.join(root, top)):
                for name in sorted(names):
                    if name.endswith((".c", ".h")):
                        path = os.path.join(folder, name)
                        with open(path, encoding="utf-8") as file:
                            self.files[os.path.relpath(path, root)] = file.read().split("\n")

    def sources(self):
        """The program's own files, without the tests."""
        return {path: lines for path, lines in self.files.items() if not path.startswith("tests/")}

    def folders(self):
        """The folders of src/ that have files."""
        return sorted({path.split("/")[1] for path in self.files if re.match(r"src/[^/]+/", path)})

    def may_include(self, folder):
        path = os.path.join(self.root, "src", folder, ".may-include")
        return words(path) if os.path.exists(path) else None

    def tags(self, kinds, suffix):
        """(path, name, first line, last line) of each function (f) or prototype (p)."""
        paths = [path for path in self.sources() if path.endswith(suffix)]
        if not paths:
            return
        command = [CTAGS, "-f", "-", "--language-force=C", "--kinds-C=" + kinds, "--fields=ne", "--excmd=number",
                   "-I", "__attribute__+"] + paths
        output = subprocess.run(command, cwd=self.root, check=True, capture_output=True, text=True).stdout
        for row in output.splitlines():
            name, path, _, *fields = row.split("\t")
            values = dict(field.split(":", 1) for field in fields if ":" in field)
            first = int(values["line"])
            yield path, name, first, int(values.get("end", first))


def check_order(tree):
    order = words(os.path.join(tree.root, "src", ".may-include"))
    for folder in tree.folders():
        allowed = tree.may_include(folder)
        if folder not in order:
            yield f"src/{folder}: no place in src/.may-include"
        elif allowed is None:
            yield f"src/{folder}: no .may-include"
        else:
            for entry in allowed:
                if not entry.startswith("<") and entry not in order[order.index(folder) + 1:]:
                    yield f"src/{folder}/.may-include: {entry} is not below {folder}"


def check_includes(tree):
    everything = words(os.path.join(tree.root, "src", ".may-include"))
    for path, lines in tree.sources().items():
        parts = path.split("/")
        if parts[0] != "src":
            continue
        allowed = everything if len(parts) == 2 else (tree.may_include(parts[1]) or []) + [parts[1]]
        for number, line in enumerate(lines, 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            header = match.group(1)
            where = f"{path}:{number}: {header}"
            if header in RESERVED and header not in allowed:
                yield f"{where} is reserved to another folder"
            elif header.startswith('"') and header != '"config.h"':
                if "/" not in header:
                    yield f"{where} does not name its folder"
                elif header[1:].split("/")[0] not in allowed:
                    yield f"{where} is a layer that src/{parts[1]}/.may-include does not list"


def check_own_header(tree):
    for path, lines in tree.sources().items():
        header = path[:-2] + ".h"
        if path.endswith(".c") and header in tree.files:
            own = '"' + header.split("/", 1)[1] + '"'
            includes = [match.group(1) for match in map(INCLUDE.match, lines) if match]
            includes = [include for include in includes if include != '"config.h"']
            if includes[:1] != [own]:
                yield f"{path}: the first include is not {own}"


def check_file_size(tree):
    for path, lines in tree.files.items():
        if len(lines) - 1 > FILE_LINES:
            yield f"{path}: {len(lines) - 1} lines, {FILE_LINES} are allowed"


def check_function_size(tree):
    for path, name, first, last in tree.tags("f", (".c", ".h")):
        if last - first + 1 > FUNCTION_LINES:
            yield f"{path}:{first}: {name}() has {last - first + 1} lines, {FUNCTION_LINES} are allowed"


def check_comments(tree):
    for path, name, first, _ in tree.tags("pf", ".h"):
        above = []
        for line in reversed(tree.files[path][:first - 1]):
            if not line.strip():
                break
            above.append(line)
        if not any("*/" in line for line in above):
            yield f"{path}:{first}: no comment above {name}()"


def check_prefix(tree):
    for path, name, first, _ in tree.tags("p", ".h"):
        stem = os.path.basename(path)[:-2]
        if path.startswith("src/") and not name.startswith(stem + "_"):
            yield f"{path}:{first}: {name}() does not start with {stem}_"


def check_typedef(tree):
    for path, lines in tree.files.items():
        text = COMMENTS.sub(lambda match: re.sub(r"[^\n]", " ", match.group(0)), "\n".join(lines))
        for match in re.finditer(r"\btypedef\s+(struct|union|enum)\b\s*\w*\s*(\{|\w+\s*;)", text):
            line = text.count("\n", 0, match.start()) + 1
            yield f"{path}:{line}: typedef {match.group(1)}"


def check_spdx(tree):
    for path, lines in tree.files.items():
        if lines[0] != "/* SPDX-License-Identifier: ISC */":
            yield f"{path}:1: no SPDX line"


def check_layout(tree):
    for path, lines in tree.files.items():
        for number, line in enumerate(lines, 1):
            if "\t" in line or line != line.rstrip():
                yield f"{path}:{number}: a tab, or a blank at the end"
            elif len(line) > COLUMNS:
                yield f"{path}:{number}: {len(line)} columns, {COLUMNS} are allowed"


# (what the rule says, the check, whether it needs ctags)
RULES = [
    ("each folder has its place in the layers", check_order, False),
    ("includes go downwards only, and reserved headers stay where they belong", check_includes, False),
    ("a file includes its own header first", check_own_header, False),
    (f"no file over {FILE_LINES} lines", check_file_size, False),
    (f"no function over {FUNCTION_LINES} lines", check_function_size, True),
    ("every public function has a comment above it", check_comments, True),
    ("public functions start with the name of their file", check_prefix, True),
    ("no typedef of a struct, union or enum", check_typedef, False),
    ("every file has the SPDX line", check_spdx, False),
    (f"no tabs, no trailing blanks, {COLUMNS} columns at most", check_layout, False),
]

SPDX = "/* SPDX-License-Identifier: ISC */\n"
GOOD = {
    "src/.may-include": "top\nlow\n",
    "src/top/.may-include": "low\n",
    "src/low/.may-include": "# nothing\n<sys/epoll.h>\n",
    "src/main.c": SPDX + '#include "top/a.h"\n',
    "src/top/a.h": SPDX + "/* Says a. */\nint a_say(const char *text,\n          int twice);\n",
    "src/top/a.c": SPDX + '#include "top/a.h"\n\n#include "low/b.h"\n\n' + "int a_say(const char *text, int twice) {\n"
                   + "        /* no typedef struct here */\n        return 0;\n}\n",
    "src/low/b.h": SPDX + "#include <sys/epoll.h>\n\ntypedef struct b *b_fn(struct b *b);\n",
}
# (the check that must object, a file of GOOD to change, its text; None: removed)
BAD = [
    (check_order, "src/top/.may-include", None),
    (check_order, "src/low/.may-include", "top\n"),
    (check_order, "src/new/c.h", SPDX),
    (check_includes, "src/low/b.h", SPDX + '#include "top/a.h"\n'),
    (check_includes, "src/top/x.c", SPDX + "#include <sys/epoll.h>\n"),
    (check_includes, "src/low/b.h", SPDX + "#  include <confuse.h>\n"),
    (check_includes, "src/main.c", SPDX + '#include "a.h"\n'),
    (check_own_header, "src/top/a.c", SPDX + '#include <stdio.h>\n#include "top/a.h"\n'),
    (check_file_size, "src/top/x.c", SPDX + "\n" * FILE_LINES),
    (check_function_size, "src/top/x.c", SPDX + "void x(void) {\n" + ";\n" * FUNCTION_LINES + "}\n"),
    (check_comments, "src/top/a.h", SPDX + "\nint a_say(const char *text,\n          int twice);\n"),
    (check_prefix, "src/top/a.h", SPDX + "/* Says b. */\nint b_say(void);\n"),
    (check_typedef, "src/top/x.h", SPDX + "typedef\nstruct x { int y; } x;\n"),
    (check_typedef, "src/top/x.h", SPDX + "typedef enum x y;\n"),
    (check_spdx, "src/top/x.h", "\n" + SPDX),
    (check_layout, "src/top/x.h", SPDX + "\tint x;\n"),
    (check_layout, "src/top/x.h", SPDX + "int x; \n"),
    (check_layout, "src/top/x.h", SPDX + "/* " + "x" * COLUMNS + " */\n"),
]


def objections(files):
    """The checks that object to a tree of these files."""
    with tempfile.TemporaryDirectory() as root:
        for path, text in files.items():
            if text is not None:
                os.makedirs(os.path.join(root, os.path.dirname(path)), exist_ok=True)
                with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                    file.write(text)
        tree = Tree(root)
        return [check for _, check, ctags in RULES if (CTAGS or not ctags) and any(True for _ in check(tree))]


class Tap:
    """Prints results.  Failures are for the test driver to count, the exit status says nothing."""

    def __init__(self):
        self.count = 0

    def result(self, name, problems=(), skip=None):
        self.count += 1
        print(f"{'not ok' if problems else 'ok'} {self.count} - {name}{' # SKIP ' + skip if skip else ''}")
        for problem in problems:
            print(f"# {problem}")


def main():
    root = os.environ.get("top_srcdir") or os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
    no_ctags = "universal-ctags is not installed"
    tap = Tap()
    tree = Tree(root)
    tap.result("there are sources to check", [] if len(tree.sources()) > 5 else ["hardly any file in src/"])
    for name, check, ctags in RULES:
        if ctags and not CTAGS:
            tap.result(name, skip=no_ctags)
        else:
            tap.result(name, list(check(tree)))

    names = {check: check.__name__ for _, check, _ in RULES}
    needs_ctags = {check for _, check, ctags in RULES if ctags}
    tap.result("nothing is said about a good tree", [names[check] for check in objections(GOOD)])
    for check, path, text in BAD:
        name = f"{names[check]} objects to a bad {path}"
        if check in needs_ctags and not CTAGS:
            tap.result(name, skip=no_ctags)
            continue
        said = objections({**GOOD, path: text})
        tap.result(name, [] if check in said else [f"only these objected: {[names[other] for other in said]}"])
    print(f"1..{tap.count}")


if __name__ == "__main__":
    main()
