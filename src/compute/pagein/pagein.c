/*
 * Demand paging for an unmodified PostgreSQL: preloaded into postgres, it fetches absent blocks of relation and SLRU files
 * from the compute daemon's page agent on first use. PROTOCOL.md describes the maps, the locks and the wire; maps.c holds
 * the rules. This file stands in front of the C library's functions, and does four more things for the daemon: it ends the
 * postmaster with it, hands it new settings before they count, refuses tablespaces outside the data directory, and holds WAL
 * writes back that are too far ahead of storage (walgate.c).
 */
#define _GNU_SOURCE
#undef _FILE_OFFSET_BITS /* the 64-bit names are defined here as functions of their own */
#undef _FORTIFY_SOURCE
#define _FORTIFY_SOURCE 0
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent.h"
#include "maps.h"
#include "promote.h"
#include "real.h"
#include "walgate.h"

#define PUT_FILE_MAX (16u << 20)

struct real_calls real;
bool real_bound;

void real_bind(void)
{
#define BIND(name) *(void **) &real.name = dlsym(RTLD_NEXT, #name)
    BIND(open), BIND(openat), BIND(close), BIND(read), BIND(pread), BIND(preadv), BIND(write), BIND(pwrite), BIND(pwritev);
    BIND(ftruncate), BIND(truncate), BIND(copy_file_range), BIND(unlink), BIND(rename), BIND(posix_fadvise);
    BIND(dup), BIND(dup2), BIND(fopen), BIND(mkdir);
#undef BIND
    real_bound = true;
}

/* Asks the kernel to end this process with the daemon that started it. Cleared on fork, so backends are the postmaster's. */
static void follow_parent(void)
{
    const char *on = getenv("AURORA_PDEATHSIG"), *pid = getenv("AURORA_PARENT_PID");
    if (!on || strcmp(on, "1") != 0 || !pid) return;
    pid_t parent = (pid_t) atol(pid);
    if (getppid() == parent) prctl(PR_SET_PDEATHSIG, SIGQUIT);
    /* It may have died before prctl. Our own children (archive commands) come here too, with a living grandparent. */
    if (getppid() != parent && kill(parent, 0) < 0 && errno == ESRCH) _exit(1);
}

__attribute__((constructor)) static void start(void)
{
    ready();
    if (getenv("AURORA_PAGEIN_PROBE")) {
        static const char hello[] = "openaurora-pagein 1\n";
        _exit(real.write(1, hello, sizeof hello - 1) == (ssize_t) sizeof hello - 1 ? 0 : 1);
    }
    follow_parent();
    const char *maps = getenv("AURORA_PAGEIN_MAPS"), *data = getenv("AURORA_PAGEIN_DATA");
    const char *agent = getenv("AURORA_PAGEIN_SOCKET"), *patience = getenv("AURORA_PAGEIN_TIMEOUT_MS");
    if (!maps || !data || !agent) return;
    if (maps_configure(maps, data) < 0) {
        complain("AURORA_PAGEIN_MAPS or AURORA_PAGEIN_DATA is too long");
        _exit(1); /* to go on without maps would be to read zeros */
    }
    agent_configure(agent, patience ? atoi(patience) : 0);
    const char *gate = getenv("AURORA_PAGEIN_WALGATE"), *keeper = getenv("AURORA_PARENT_PID");
    if (gate && walgate_configure(gate, keeper ? (pid_t) atol(keeper) : 0) < 0) {
        complain("%s: cannot be used: %s", gate, strerror(errno));
        _exit(1);
    }
}

/* ---- what postgres calls ---- */

static int open_file(int dir_fd, const char *path, int flags, mode_t mode)
{
    ready();
    const char *rel = dir_fd == AT_FDCWD || path[0] == '/' ? mappable(path) : NULL;
    if (!rel) {
        int fd = dir_fd == AT_FDCWD ? real.open(path, flags, mode) : real.openat(dir_fd, path, flags, mode);
        if (fd >= 0) {
            forget(fd);
            walgate_closed(fd); /* left over only if someone closed the descriptor behind our back */
            if ((flags & O_ACCMODE) != O_RDONLY) walgate_opened(fd, path);
        }
        return fd;
    }
    /* A file born now has no blocks elsewhere, even if an older one of this name had. */
    if ((flags & O_CREAT) && faccessat(AT_FDCWD, path, F_OK, AT_EACCESS) < 0 && errno == ENOENT) remove_map(rel);
    int fd = real.open(path, flags & ~O_TRUNC, mode);
    if (fd < 0) return fd;
    if (track(fd, rel, flags) < 0 || ((flags & O_TRUNC) && ftruncate(fd, 0) < 0)) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

#define OPEN_WITH(dir_fd)                                     \
    mode_t mode = 0;                                          \
    if ((flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE) { \
        va_list args;                                         \
        va_start(args, flags);                                \
        mode = va_arg(args, mode_t);                          \
        va_end(args);                                         \
    }                                                         \
    return open_file(dir_fd, path, flags, mode)

int open(const char *path, int flags, ...) { OPEN_WITH(AT_FDCWD); }
int open64(const char *path, int flags, ...) { OPEN_WITH(AT_FDCWD); }
int openat(int dir_fd, const char *path, int flags, ...) { OPEN_WITH(dir_fd); }
int openat64(int dir_fd, const char *path, int flags, ...) { OPEN_WITH(dir_fd); }
int __open_2(const char *path, int flags) { return open_file(AT_FDCWD, path, flags, 0); }
int __open64_2(const char *path, int flags) { return open_file(AT_FDCWD, path, flags, 0); }
int creat(const char *path, mode_t mode) { return open_file(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

int close(int fd)
{
    ready();
    forget(fd); /* before: afterwards the number may already be another file's */
    walgate_closed(fd);
    return real.close(fd);
}

static int duplicated(int from, int to)
{
    if (to < 0 || to == from || track_duplicate(from, to) == 0) return to;
    real.close(to);
    errno = EMFILE;
    return -1;
}

int dup(int fd)
{
    ready();
    return duplicated(fd, real.dup(fd));
}

int dup2(int from, int to)
{
    ready();
    return duplicated(from, real.dup2(from, to));
}

ssize_t read(int fd, void *buf, size_t size)
{
    ready();
    struct tracked *t = tracked(fd);
    if (t && ensure_present(t, fd, lseek(fd, 0, SEEK_CUR), size) < 0) return -1;
    return real.read(fd, buf, size);
}

ssize_t __read_chk(int fd, void *buf, size_t size, size_t room)
{
    if (size > room) abort();
    return read(fd, buf, size);
}

ssize_t pread(int fd, void *buf, size_t size, off_t offset)
{
    ready();
    struct tracked *t = tracked(fd);
    if (t && ensure_present(t, fd, offset, size) < 0) return -1;
    return real.pread(fd, buf, size, offset);
}

ssize_t pread64(int fd, void *buf, size_t size, off64_t offset) { return pread(fd, buf, size, offset); }

ssize_t __pread_chk(int fd, void *buf, size_t size, off_t offset, size_t room)
{
    if (size > room) abort();
    return pread(fd, buf, size, offset);
}

ssize_t __pread64_chk(int fd, void *buf, size_t size, off64_t offset, size_t room)
{
    return __pread_chk(fd, buf, size, offset, room);
}

ssize_t preadv(int fd, const struct iovec *iov, int count, off_t offset)
{
    ready();
    struct tracked *t = tracked(fd);
    if (t && ensure_present(t, fd, offset, total_size(iov, count)) < 0) return -1;
    return real.preadv(fd, iov, count, offset);
}

ssize_t preadv64(int fd, const struct iovec *iov, int count, off64_t offset) { return preadv(fd, iov, count, offset); }

ssize_t write(int fd, const void *buf, size_t size)
{
    ready();
    struct tracked *t = tracked(fd);
    /* Not how PostgreSQL writes mapped files, so the simple way will do: fetch, then overwrite. */
    if (t && ensure_present(t, fd, lseek(fd, 0, SEEK_CUR), size) < 0) return -1;
    return real.write(fd, buf, size);
}

ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t offset)
{
    ready();
    struct tracked *t = tracked(fd);
    if (t && !all_present(t, blocks_of(t, offset, total_size(iov, count)))) return write_remote(t, fd, iov, count, offset);
    return real.pwritev(fd, iov, count, offset);
}

ssize_t pwritev64(int fd, const struct iovec *iov, int count, off64_t offset) { return pwritev(fd, iov, count, offset); }

ssize_t pwrite(int fd, const void *buf, size_t size, off_t offset)
{
    ready();
    struct tracked *t = tracked(fd);
    if (t && !all_present(t, blocks_of(t, offset, size))) {
        struct iovec iov = {(void *) buf, size};
        return write_remote(t, fd, &iov, 1, offset);
    }
    if (!t) walgate_pass(fd, offset, size);
    return real.pwrite(fd, buf, size, offset);
}

ssize_t pwrite64(int fd, const void *buf, size_t size, off64_t offset) { return pwrite(fd, buf, size, offset); }

int ftruncate(int fd, off_t size)
{
    ready();
    struct tracked *t = tracked(fd);
    return t && size >= 0 && size / BLOCK_SIZE < t->nblocks ? truncate_remote(t, fd, size) : real.ftruncate(fd, size);
}

int ftruncate64(int fd, off64_t size) { return ftruncate(fd, size); }

int truncate(const char *path, off_t size)
{
    ready();
    if (!mappable(path)) return real.truncate(path, size);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) return -1;
    int result = ftruncate(fd, size);
    int saved = errno;
    close(fd);
    errno = saved;
    return result;
}

int truncate64(const char *path, off64_t size) { return truncate(path, size); }

/* Bytes from `offset` to the file's end, at most `size`: callers may ask for far more than there is. */
static size_t up_to_end(int fd, off_t offset, size_t size)
{
    struct stat st;
    if (fstat(fd, &st) < 0 || st.st_size <= offset) return 0;
    return size < (size_t) (st.st_size - offset) ? size : (size_t) (st.st_size - offset);
}

ssize_t copy_file_range(int in, off64_t *in_offset, int out, off64_t *out_offset, size_t size, unsigned flags)
{
    ready();
    struct tracked *from = tracked(in), *to = tracked(out);
    off_t in_at = from ? (in_offset ? *in_offset : lseek(in, 0, SEEK_CUR)) : 0;
    off_t out_at = to ? (out_offset ? *out_offset : lseek(out, 0, SEEK_CUR)) : 0;
    if (from && ensure_present(from, in, in_at, up_to_end(in, in_at, size)) < 0) return -1;
    if (to && ensure_present(to, out, out_at, up_to_end(out, out_at, size)) < 0) return -1;
    return real.copy_file_range(in, in_offset, out, out_offset, size, flags);
}

int posix_fadvise(int fd, off_t offset, off_t size, int advice)
{
    ready();
    struct tracked *t = tracked(fd);
    if (t && advice == POSIX_FADV_WILLNEED) {
        struct range run = remote_run(t, blocks_of(t, offset, size > 0 ? (size_t) size : (size_t) RUN_MAX * BLOCK_SIZE));
        if (run.first < run.end) agent_hint(t->rel, run.first, run.end - run.first);
    }
    return real.posix_fadvise(fd, offset, size, advice);
}

int posix_fadvise64(int fd, off64_t offset, off64_t size, int advice) { return posix_fadvise(fd, offset, size, advice); }

static int fetch_whole(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    struct tracked *t = tracked(fd);
    int result = t ? ensure_present(t, fd, 0, (size_t) t->nblocks * BLOCK_SIZE) : 0;
    int saved = errno;
    close(fd);
    errno = saved;
    return result;
}

/* Streams read behind our back, so the whole file comes first: pg_read_binary_file() is the one user. */
static FILE *open_stream(const char *path, const char *mode)
{
    ready();
    if (mode[0] == 'r' ? mappable(path) && fetch_whole(path) < 0 : refuses_promotion(path)) return NULL;
    return real.fopen(path, mode);
}

FILE *fopen(const char *path, const char *mode) { return open_stream(path, mode); }
FILE *fopen64(const char *path, const char *mode) { return open_stream(path, mode); }

int unlink(const char *path)
{
    ready();
    const char *rel = mappable(path);
    int result = real.unlink(path);
    /* The file first: one without its map would read as zeros. */
    if (rel && result == 0) remove_map(rel);
    return result;
}

/* ALTER SYSTEM: the volume has the new settings before the file does. */
static int put_file(const char *path, const char *name)
{
    char why[512] = "too large";
    struct stat st;
    char *content = NULL;
    int result = -1, fd = real.open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    if (fstat(fd, &st) < 0) goto out;
    if (st.st_size <= PUT_FILE_MAX && (content = malloc((size_t) st.st_size + 1))) {
        ssize_t n = real.pread(fd, content, (size_t) st.st_size, 0);
        if (n == st.st_size) result = agent_put_file(name, content, (uint32_t) n, why, sizeof why);
        else snprintf(why, sizeof why, "could not read %s", path);
    }
    if (result < 0) {
        int reason = errno == EROFS ? EROFS : EIO; /* a replica's */
        complain("%s: not stored in the volume: %s", name, why);
        errno = reason;
    }
out:;
    int saved = errno;
    free(content);
    real.close(fd);
    errno = saved;
    return result;
}

/* Storage knows a file's blocks by its name alone, so all of them come here before it changes. PostgreSQL renames no such file. */
static int settle(const char *path, const char *rel)
{
    char map[PATH_MAX];
    struct stat st;
    if (map_path(map, rel) < 0) return -1;
    if (stat(map, &st) < 0) return errno == ENOENT || errno == ENOTDIR ? 0 : -1;
    if (S_ISDIR(st.st_mode)) {
        complain("%s: a folder with blocks in storage cannot be renamed", rel);
        errno = EXDEV;
        return -1;
    }
    return fetch_whole(path);
}

static int rename_local(const char *from, const char *to)
{
    const char *from_rel = mappable(from), *to_rel = mappable(to);
    if (from_rel && settle(from, from_rel) < 0) return -1;
    int result = real.rename(from, to);
    if (result == 0 && from_rel) remove_map(from_rel);
    if (result == 0 && to_rel) remove_map(to_rel);
    return result;
}

int rename(const char *from, const char *to)
{
    static const char settings[] = "postgresql.auto.conf";
    ready();
    if (!maps_active) return real.rename(from, to);
    const char *rel = below_data_dir(to);
    if (rel && strcmp(rel, settings) == 0 && put_file(from, settings) < 0) return -1;
    return rename_local(from, to);
}

/*
 * CREATE TABLESPACE with a location makes LOCATION/PG_18_<catalog version>, before its link and before anything is logged
 * (create_tablespace_directories, tablespace.c). To fail here is an ordinary error. Storage could not replay the record, and
 * a new data directory would not have the link.
 */
static bool is_outside_tablespace(const char *path)
{
    const char *name = strrchr(path, '/');
    return maps_active && path[0] == '/' && !below_data_dir(path) && strncmp(name, "/PG_", 4) == 0 && name[4] >= '0' && name[4] <= '9';
}

int mkdir(const char *path, mode_t mode)
{
    ready();
    if (!is_outside_tablespace(path)) return real.mkdir(path, mode);
    complain("%s: a tablespace has no location of its own here, its files are in storage; only in-place tablespaces are "
             "possible (SET allow_in_place_tablespaces = on; CREATE TABLESPACE name LOCATION '')", path);
    errno = ENOTSUP;
    return -1;
}
