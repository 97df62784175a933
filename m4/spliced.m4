# SPDX-License-Identifier: ISC

# SPLICED_TRY_FLAG(VARIABLE, FLAG): adds FLAG where the compiler takes it, both to compile and to link.
AC_DEFUN([SPLICED_TRY_FLAG], [
  AC_MSG_CHECKING([whether $CC takes $2])
  spliced_save_cflags=$CFLAGS
  CFLAGS="$CFLAGS -Werror $2"
  AC_LINK_IFELSE([AC_LANG_PROGRAM([], [])],
    [AC_MSG_RESULT([yes]); $1="${$1:+$$1 }$2"],
    [AC_MSG_RESULT([no])])
  CFLAGS=$spliced_save_cflags
])

# Warnings and hardening, probed one by one.
AC_DEFUN([SPLICED_COMPILER_FLAGS], [
  SPLICED_CFLAGS="-std=gnu11"
  SPLICED_LDFLAGS=
  m4_foreach_w([flag], [-Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith
      -Wwrite-strings -Wundef -Wvla -Wformat=2 -Wimplicit-fallthrough -Wno-unused-parameter
      -fno-strict-aliasing -fno-common -fstack-protector-strong -fstack-clash-protection -fcf-protection -fPIE],
    [SPLICED_TRY_FLAG([SPLICED_CFLAGS], flag)])
  SPLICED_TRY_FLAG([SPLICED_LDFLAGS], [-pie])
  SPLICED_TRY_FLAG([SPLICED_LDFLAGS], [-Wl,-z,relro])
  SPLICED_TRY_FLAG([SPLICED_LDFLAGS], [-Wl,-z,now])
  SPLICED_TRY_FLAG([SPLICED_LDFLAGS], [-Wl,-z,noexecstack])
  SPLICED_TRY_FLAG([SPLICED_LDFLAGS], [-Wl,--as-needed])
  AC_SUBST([SPLICED_CFLAGS])
  AC_SUBST([SPLICED_LDFLAGS])
])

AC_DEFUN([SPLICED_WERROR], [
  AC_ARG_ENABLE([werror], [AS_HELP_STRING([--enable-werror], [treat compiler warnings as errors])], [], [enable_werror=no])
  AS_IF([test "$enable_werror" = yes], [SPLICED_CFLAGS="$SPLICED_CFLAGS -Werror"])
])

AC_DEFUN([SPLICED_SANITIZERS], [
  AC_ARG_ENABLE([sanitizers],
    [AS_HELP_STRING([--enable-sanitizers@<:@=LIST@:>@], [build with sanitizers, comma-separated @<:@address,undefined@:>@])],
    [], [enable_sanitizers=no])
  AS_CASE([$enable_sanitizers], [yes], [spliced_sanitizers=address,undefined], [spliced_sanitizers=$enable_sanitizers])
  AS_IF([test "$spliced_sanitizers" != no], [
    spliced_before=$SPLICED_CFLAGS
    SPLICED_TRY_FLAG([SPLICED_CFLAGS], [-fsanitize=$spliced_sanitizers])
    AS_IF([test "$SPLICED_CFLAGS" = "$spliced_before"],
      [AC_MSG_ERROR([this compiler cannot build with -fsanitize=$spliced_sanitizers])])
    SPLICED_CFLAGS="$SPLICED_CFLAGS -fno-sanitize-recover=all -fno-omit-frame-pointer -g"
    SPLICED_LDFLAGS="$SPLICED_LDFLAGS -fsanitize=$spliced_sanitizers"
  ], [
    # Fortified string functions hide overflows from the sanitizers, so only without them.
    AS_CASE([" $CFLAGS "], [*" -O0 "*], [], [SPLICED_CFLAGS="$SPLICED_CFLAGS -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2"])
  ])
  AC_SUBST([SPLICED_SANITIZERS], [$spliced_sanitizers])
  AM_CONDITIONAL([SANITIZE_THREAD], [test "$spliced_sanitizers" = thread])
])

# Targets of tests/fuzz with libFuzzer, by "make fuzz"; the rest is built as ever.
AC_DEFUN([SPLICED_FUZZING], [
  AC_ARG_ENABLE([fuzzing],
    [AS_HELP_STRING([--enable-fuzzing], [build fuzz targets with libFuzzer; needs CC=clang])],
    [], [enable_fuzzing=no])
  FUZZ_FLAGS=
  AS_IF([test "$enable_fuzzing" = yes], [
    # A program of its own has a main, and libFuzzer too: only compiling and the library's presence can be tried.
    SPLICED_TRY_FLAG([FUZZ_FLAGS], [-fsanitize=fuzzer-no-link,address,undefined])
    AS_IF([test -z "$FUZZ_FLAGS"],
      [AC_MSG_ERROR([this compiler has no libFuzzer: install clang and configure with CC=clang])])
    FUZZ_FLAGS="-fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -g"
    FUZZ_FLAGS="$FUZZ_FLAGS -U_FORTIFY_SOURCE"
  ])
  AC_SUBST([FUZZ_FLAGS])
  AM_CONDITIONAL([FUZZING], [test "$enable_fuzzing" = yes])
])

AC_DEFUN([SPLICED_COVERAGE], [
  AC_ARG_ENABLE([coverage], [AS_HELP_STRING([--enable-coverage], [build for gcov])], [], [enable_coverage=no])
  AS_IF([test "$enable_coverage" = yes], [
    SPLICED_CFLAGS="$SPLICED_CFLAGS --coverage"
    SPLICED_LDFLAGS="$SPLICED_LDFLAGS --coverage"
  ])
])

# --with-systemd[=DIR|auto|no]: where units go.  auto asks pkg-config and installs none where systemd is unknown.
AC_DEFUN([SPLICED_SYSTEMD], [
  AC_ARG_WITH([systemd],
    [AS_HELP_STRING([--with-systemd@<:@=DIR@:>@], [install the systemd unit, to DIR @<:@auto: ask pkg-config@:>@])],
    [], [with_systemd=auto])
  AS_CASE([$with_systemd],
    [no], [systemdsystemunitdir=],
    [yes|auto], [
      systemdsystemunitdir=`$PKG_CONFIG --variable=systemdsystemunitdir systemd 2>/dev/null`
      AS_IF([test -z "$systemdsystemunitdir" && test "$with_systemd" = yes],
        [AC_MSG_ERROR([pkg-config does not know systemd: give the directory with --with-systemd=DIR])])
      # The directory that pkg-config names is outside the prefix: distcheck gives its own.
    ],
    [systemdsystemunitdir=$with_systemd])
  AC_SUBST([systemdsystemunitdir])
  AM_CONDITIONAL([WITH_SYSTEMD], [test -n "$systemdsystemunitdir"])
  AS_IF([test -n "$systemdsystemunitdir"], [spliced_systemd=$systemdsystemunitdir], [spliced_systemd=no])
])

# --with-libsystemd[=auto|yes|no]: talking to the service manager (readiness, watchdog, socket activation).
AC_DEFUN([SPLICED_LIBSYSTEMD], [
  AC_ARG_WITH([libsystemd],
    [AS_HELP_STRING([--with-libsystemd], [readiness, watchdog and socket activation by libsystemd @<:@auto@:>@])],
    [], [with_libsystemd=auto])
  have_libsystemd=no
  AS_CASE([$with_libsystemd],
    [no], [],
    [yes|auto], [
      PKG_CHECK_MODULES([LIBSYSTEMD], [libsystemd >= 246], [have_libsystemd=yes], [
        AS_IF([test "$with_libsystemd" = yes],
          [AC_MSG_ERROR([libsystemd 246 is missing: install libsystemd-dev, or configure --without-libsystemd])])])
    ],
    [AC_MSG_ERROR([--with-libsystemd takes yes, no or auto, not '$with_libsystemd'])])
  AM_CONDITIONAL([HAVE_LIBSYSTEMD], [test "$have_libsystemd" = yes])
])
