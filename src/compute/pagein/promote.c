/*
 * A standby that PostgreSQL promotes on its own (pg_promote(), pg_ctl promote) would take writes that never reach the volume.
 * Both make a file "promote" and wake the postmaster, which looks for it with stat(): so the file cannot be made from within,
 * and one that was made from outside is taken away unseen.
 */
#define _GNU_SOURCE
#undef _FILE_OFFSET_BITS
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#include "maps.h"
#include "promote.h"
#include "real.h"

static bool is_promotion(const char *path)
{
    const char *rel = maps_active ? below_data_dir(path) : NULL;
    return rel && strcmp(rel, "promote") == 0;
}

static void say_how(void)
{
    complain("this standby cannot be promoted by PostgreSQL, the volume would know nothing of it; use: aurora promote NAME");
}

bool refuses_promotion(const char *path)
{
    if (!is_promotion(path)) return false;
    say_how();
    errno = EPERM;
    return true;
}

/* As stat(): fstatat is a name that nobody stands in front of. */
static int stat_file(const char *path, struct stat *st)
{
    ready();
    if (!is_promotion(path)) return fstatat(AT_FDCWD, path, st, 0);
    if (real.unlink(path) == 0) say_how();
    errno = ENOENT;
    return -1;
}

int stat(const char *path, struct stat *st) { return stat_file(path, st); }
#if defined(__GLIBC__) && defined(__LP64__)
/* What programs built for 64-bit offsets, or before glibc 2.33, call; struct stat64 is struct stat here. */
int stat64(const char *path, struct stat64 *st) { return stat_file(path, (struct stat *) st); }
int __xstat(int version, const char *path, struct stat *st) { return (void) version, stat_file(path, st); }
int __xstat64(int version, const char *path, struct stat64 *st) { return (void) version, stat_file(path, (struct stat *) st); }
#endif
