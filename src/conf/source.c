/* SPDX-License-Identifier: ISC */
#include "conf/source.h"

#include <confuse.h>
#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "conf/schema.h"

#define SOURCE_SIZE_MAX ((size_t)16 << 20)
#define SOURCE_DEPTH_MAX 10
#define SOURCE_FILES_MAX 1000

static void source_free_options(cfg_opt_t *options) {
        for (cfg_opt_t *option = options; option && option->name; option++)
                source_free_options(option->subopts);
        free(options);
}

/* What libconfuse is to know: every key a string, since the index in front of a value keeps it from being a number. */
static cfg_opt_t *source_make_options(const struct schema_row *rows) {
        cfg_opt_t *options = calloc(SCHEMA_ROWS_MAX + 2, sizeof(*options)), *option = options;

        if (!options)
                return NULL;
        for (; rows->key; rows++, option++) {
                option->name = rows->key;
                option->type = rows->type == SCHEMA_SECTION ? CFGT_SEC : CFGT_STR;
                option->flags = CFGF_NODEFAULT;
                if (rows->flags & SCHEMA_TITLED)
                        option->flags |= CFGF_MULTI | CFGF_TITLE;
                if (rows->type == SCHEMA_INCLUDE || rows->flags & SCHEMA_LIST)
                        option->flags |= CFGF_LIST;
                if (rows->sub && !(option->subopts = source_make_options(rows->sub))) {
                        option->name = NULL;
                        source_free_options(options);
                        return NULL;
                }
        }
        option->name = OUTLINE_DROPPED;
        option->type = CFGT_STR;
        option->flags = CFGF_NODEFAULT | CFGF_LIST;
        return options;
}

int source_init(struct sources *sources, struct region *region, struct mistakes *mistakes) {
        *sources = (struct sources) { .region = region, .mistakes = mistakes };
        sources->options = source_make_options(schema_top);
        return sources->options ? 0 : -ENOMEM;
}

void source_free(struct sources *sources) {
        for (struct source *source = sources->first; source; source = source->next) {
                if (source->cfg)
                        cfg_free(source->cfg);
                source->cfg = NULL;
        }
        source_free_options(sources->options);
        sources->options = NULL;
        sources->first = sources->last = NULL;
}

/* outline_write() has left nothing that libconfuse could complain of; if it does, source_parse() says so. */
static void source_ignore_error(cfg_t *cfg, const char *fmt, va_list args) {
        (void)cfg;
        (void)fmt;
        (void)args;
}

static struct place source_place(const struct source *source, unsigned line) {
        return (struct place) { .file = source->number, .name = source->name, .line = line };
}

const char *source_value(const struct source *source, const char *coded, struct place *place) {
        char *text;
        size_t index = strtoul(coded, &text, 10);

        *place = source_place(source, index < source->tokens.n ? source->tokens.list[index].line : 0);
        return *text == ':' ? text + 1 : text;
}

static int source_parse(struct sources *sources, struct source *source, const char *text, size_t len) {
        char *clean = NULL;
        int r = token_scan(&source->tokens, text, len, source_place(source, 1), sources->mistakes);

        if (r == 0)
                r = outline_write(&clean, &source->tokens, &sources->seen, source_place(source, 1), sources->mistakes);
        if (r < 0)
                return r;
        source->cfg = cfg_init(sources->options, CFGF_NONE);
        if (!source->cfg) {
                free(clean);
                return -ENOMEM;
        }
        cfg_set_error_function(source->cfg, source_ignore_error);
        errno = 0;
        if (cfg_parse_buf(source->cfg, clean) != CFG_SUCCESS) {
                r = errno == ENOMEM ? -ENOMEM : 0;
                /* cfg_free() of libconfuse 3.3 crashes on what is left where memory ran out: better lost than that. */
                if (r < 0)
                        source->cfg = NULL;
                else
                        mistakes_add(sources->mistakes, source_place(source, 0), "cannot be parsed by libconfuse");
        }
        free(clean);
        return r;
}

static struct source *source_add(struct sources *sources, const struct source *parent, const char *name) {
        struct source *source = region_alloc(sources->region, sizeof(*source));

        if (!source)
                return NULL;
        source->name = region_strdup(sources->region, name);
        source->parent = parent;
        source->depth = parent ? parent->depth + 1 : 0;
        source->number = sources->last ? sources->last->number + 1 : 0;
        if (sources->last)
                sources->last->next = source;
        else
                sources->first = source;
        sources->last = source;
        return source->name ? source : NULL;
}

/* Reads all of file, NUL-terminated.  Returns 0, -errno, or -EFBIG where it is too large to be a config. */
static int source_slurp(FILE *file, char **text, size_t *len) {
        size_t room = 0;

        *text = NULL;
        *len = 0;
        do {
                char *grown;

                room = room ? 2 * room : 16384;
                grown = realloc(*text, room);
                if (!grown)
                        return -ENOMEM;
                *text = grown;
                errno = 0;
                *len += fread(*text + *len, 1, room - 1 - *len, file);
                if (ferror(file))
                        return errno ? -errno : -EIO;
                if (*len > SOURCE_SIZE_MAX)
                        return -EFBIG;
        } while (!feof(file));
        (*text)[*len] = '\0';
        return 0;
}

static int source_read_file(struct sources *sources, const struct source *parent, struct place at, const char *path);

/* Whether a file is one of those that lead to its own include. */
static int source_is_loop(const struct source *parent, const struct stat *st) {
        for (; parent; parent = parent->parent)
                if (parent->dev == st->st_dev && parent->ino == st->st_ino)
                        return 1;
        return 0;
}

/* The folder of the file and the path; with `quote` such that the folder is no pattern itself. */
static char *source_resolve(struct sources *sources, const struct source *source, const char *path, int quote) {
        const char *slash = strrchr(source->name, '/');
        size_t len = path[0] == '/' || !slash ? 0 : (size_t)(slash - source->name) + 1, at = 0;
        char *resolved = region_alloc(sources->region, 2 * len + strlen(path) + 1);

        if (!resolved)
                return NULL;
        for (size_t i = 0; i < len; i++) {
                if (quote && strchr("*?[]\\", source->name[i]))
                        resolved[at++] = '\\';
                resolved[at++] = source->name[i];
        }
        strcpy(resolved + at, path);
        return resolved;
}

static int source_include(struct sources *sources, const struct source *source, const char *path, struct place at) {
        int pattern = strpbrk(path, "*?[") != NULL, r = 0;
        char *resolved = source_resolve(sources, source, path, pattern);
        glob_t found = { 0 };

        if (!resolved)
                return -ENOMEM;
        if (path[0] == '\0') {
                mistakes_add(sources->mistakes, at,
                             "include: the path is empty; allowed: the path of a file, or a pattern");
                return 0;
        }
        if (!pattern)
                return source_read_file(sources, source, at, resolved);
        switch (glob(resolved, 0, NULL, &found)) {
        case 0:
        case GLOB_NOMATCH:
                break;
        case GLOB_NOSPACE:
                return -ENOMEM;
        default:
                sources->incomplete = 1;
                mistakes_add(sources->mistakes, at, "include: '%s' cannot be searched: %s",
                             mistakes_word(sources->mistakes, path), strerror(errno));
                break;
        }
        for (size_t i = 0; r == 0 && i < found.gl_pathc; i++)
                r = source_read_file(sources, source, at, found.gl_pathv[i]);
        globfree(&found);
        return r;
}

/* Parses a text that is already there, then what it includes. */
static int source_take(struct sources *sources, struct source *source, const char *text, size_t len) {
        int r = source_parse(sources, source, text, len);
        unsigned n = r == 0 ? cfg_size(source->cfg, "include") : 0;

        for (unsigned i = 0; r == 0 && i < n; i++) {
                struct place at;
                const char *path = source_value(source, cfg_getnstr(source->cfg, "include", i), &at);

                r = source_include(sources, source, path, at);
        }
        return r;
}

/* Why a file that is about to be included may not be; NULL where it may. */
static const char *source_refuses(const struct sources *sources, const struct source *parent, const struct stat *st) {
        if (!parent)
                return NULL;
        if (!S_ISREG(st->st_mode))
                return "is no regular file";
        if (source_is_loop(parent, st))
                return "includes itself, in the end";
        if (parent->depth >= SOURCE_DEPTH_MAX)
                return "is nested too deeply; allowed: 10 includes inside of each other";
        if (sources->last->number >= SOURCE_FILES_MAX)
                return "is one too many; allowed: 1000 files";
        return NULL;
}

static void source_unreadable(struct sources *sources, const struct source *parent, struct place at, const char *shown,
                              const char *why) {
        if (parent)
                mistakes_add(sources->mistakes, at, "include: '%s' cannot be read: %s", shown, why);
        else
                mistakes_add(sources->mistakes, at, "cannot be read: %s", why);
        sources->incomplete = 1;
}

static int source_read_file(struct sources *sources, const struct source *parent, struct place at, const char *path) {
        const char *refused, *shown = mistakes_word(sources->mistakes, path);
        struct source *source = NULL;
        struct stat st = { 0 };
        char *text = NULL;
        FILE *file = NULL;
        size_t len = 0;
        int r = 0;

        refused = stat(path, &st) == 0 ? source_refuses(sources, parent, &st) : NULL;
        if (refused) {
                mistakes_add(sources->mistakes, at, "include: '%s' %s", shown, refused);
                sources->incomplete = 1;
                return 0;
        }
        source = source_add(sources, parent, path);
        if (!source)
                return -ENOMEM;
        source->dev = st.st_dev;
        source->ino = st.st_ino;
        if (!parent)
                at = source_place(source, 0);

        file = fopen(path, "re");
        r = file ? source_slurp(file, &text, &len) : -errno;
        if (r == -EFBIG)
                source_unreadable(sources, parent, at, shown, "it is larger than 16 MiB");
        else if (r < 0 && r != -ENOMEM)
                source_unreadable(sources, parent, at, shown, strerror(-r));
        else if (r == 0) {
                /* The tokens point into the text for as long as the load goes on. */
                const char *kept = region_strndup(sources->region, text, len);

                r = kept ? source_take(sources, source, kept, len) : -ENOMEM;
        }
        if (file)
                fclose(file);
        free(text);
        return r == -ENOMEM ? r : 0;
}

int source_read(struct sources *sources, const char *path) {
        return source_read_file(sources, NULL, (struct place) { 0 }, path);
}

int source_read_text(struct sources *sources, const char *name, const char *text, size_t len) {
        struct source *source = source_add(sources, NULL, name);
        const char *kept = source ? region_strndup(sources->region, text, len) : NULL;

        return kept ? source_take(sources, source, kept, len) : -ENOMEM;
}
