#define _GNU_SOURCE
#include "maps.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "real.h"

_Static_assert(sizeof(off_t) == 8, "64-bit file offsets");

#define FD_MAX 65536

bool maps_active;
static char maps_dir[PATH_MAX], data_dir[PATH_MAX];
static size_t data_dir_size;
static struct tracked *files[FD_MAX];

int maps_configure(const char *maps, const char *data)
{
    int m = snprintf(maps_dir, sizeof maps_dir, "%s", maps), d = snprintf(data_dir, sizeof data_dir, "%s", data);
    if (m >= (int) sizeof maps_dir || d >= (int) sizeof data_dir) return -1;
    while (d > 1 && data_dir[d - 1] == '/') data_dir[--d] = '\0';
    data_dir_size = (size_t) d;
    maps_active = true;
    return 0;
}

void complain(const char *format, ...)
{
    char line[1024] = "openaurora pagein: ";
    size_t n = strlen(line);
    va_list args;
    va_start(args, format);
    vsnprintf(line + n, sizeof line - n - 1, format, args);
    va_end(args);
    n = strlen(line);
    line[n++] = '\n';
    if (real.write(2, line, n) < 0) return; /* nowhere left to say it */
}

static int io_error(void)
{
    errno = EIO;
    return -1;
}

/* ---- paths ---- */

const char *below_data_dir(const char *path)
{
    if (path[0] == '/') {
        if (strncmp(path, data_dir, data_dir_size) != 0 || path[data_dir_size] != '/') return NULL;
        path += data_dir_size + 1;
    }
    for (;;) {
        if (path[0] == '.' && path[1] == '/') path += 2;
        else if (path[0] == '/') path++;
        else return path;
    }
}

const char *mappable(const char *path)
{
    static const char *const roots[] = {"base/", "global/", "pg_tblspc/", "pg_xact/", "pg_multixact/", "pg_commit_ts/"};
    if (!maps_active) return NULL;
    const char *rel = below_data_dir(path);
    if (rel)
        for (size_t i = 0; i < sizeof roots / sizeof roots[0]; i++)
            if (strncmp(rel, roots[i], strlen(roots[i])) == 0) return rel;
    return NULL;
}

int map_path(char *out, const char *rel)
{
    if (snprintf(out, PATH_MAX, "%s/%s", maps_dir, rel) < PATH_MAX) return 0;
    errno = ENAMETOOLONG;
    return -1;
}

void remove_map(const char *rel)
{
    char path[PATH_MAX];
    int saved = errno;
    if (map_path(path, rel) == 0 && real.unlink(path) < 0 && errno != ENOENT && errno != ENOTDIR && errno != EISDIR && errno != EPERM)
        complain("%s: could not remove its map: %s", rel, strerror(errno));
    errno = saved;
}

/* ---- descriptors ---- */

struct tracked *tracked(int fd)
{
    return (unsigned) fd < FD_MAX ? files[fd] : NULL;
}

void forget(int fd)
{
    struct tracked *t = tracked(fd);
    if (!t) return;
    files[fd] = NULL;
    if (--t->refs > 0) return;
    int saved = errno;
    munmap((void *) t->map, t->nblocks);
    free(t);
    errno = saved;
}

int track(int fd, const char *rel, int flags)
{
    char path[PATH_MAX];
    struct stat st;
    forget(fd); /* left over only if someone closed the descriptor behind our back */
    if (map_path(path, rel) < 0) return -1;
    int map_fd = real.open(path, O_RDONLY | O_CLOEXEC);
    if (map_fd < 0) {
        if (errno != ENOENT && errno != ENOTDIR) {
            complain("%s: could not open its map: %s", rel, strerror(errno));
            return io_error();
        }
        /* No map: a local file, unless file and map were both removed just now. */
        if (fstat(fd, &st) < 0 || st.st_nlink > 0) return 0;
        errno = ENOENT;
        return -1;
    }
    struct tracked *t = NULL;
    const uint8_t *map = MAP_FAILED;
    int result = -1;
    if (fstat(map_fd, &st) < 0) goto out;
    if (!S_ISREG(st.st_mode) || st.st_size == 0) {
        result = 0;
        goto out;
    }
    if ((unsigned) fd >= FD_MAX || st.st_size > UINT32_MAX) {
        errno = EMFILE;
        goto out;
    }
    map = mmap(NULL, (size_t) st.st_size, PROT_READ, MAP_SHARED, map_fd, 0);
    if (map == MAP_FAILED || !(t = malloc(sizeof *t + strlen(rel) + 1))) goto out;
    *t = (struct tracked) {map, (uint32_t) st.st_size, 1, (flags & O_ACCMODE) == O_RDWR, st.st_dev, st.st_ino};
    memcpy(t->rel, rel, strlen(rel) + 1);
    files[fd] = t;
    result = 0;
out:;
    int saved = errno;
    if (result < 0) complain("%s: could not use its map: %s", rel, strerror(saved));
    if (!t && map != MAP_FAILED) munmap((void *) map, (size_t) st.st_size);
    real.close(map_fd);
    errno = saved;
    return result;
}

int track_duplicate(int from, int to)
{
    struct tracked *t = tracked(from);
    forget(to);
    if (!t) return 0;
    if (to >= FD_MAX) {
        errno = EMFILE;
        return -1;
    }
    t->refs++;
    files[to] = t;
    return 0;
}

/* ---- blocks ---- */

struct range blocks_of(const struct tracked *t, off_t offset, size_t size)
{
    if (offset < 0 || size == 0 || offset / BLOCK_SIZE >= t->nblocks) return (struct range) {0, 0};
    uint64_t end = ((uint64_t) offset + size + BLOCK_SIZE - 1) / BLOCK_SIZE;
    return (struct range) {(uint32_t) (offset / BLOCK_SIZE), end < t->nblocks ? (uint32_t) end : t->nblocks};
}

enum { LOCK_DROPPED = -2 };

/* Locks the map bytes of `r`. Returns the descriptor that holds the lock, LOCK_DROPPED when the file is gone, or -1. */
static int lock_blocks(const struct tracked *t, int fd, struct range r)
{
    char path[PATH_MAX];
    struct stat st;
    if (map_path(path, t->rel) < 0) return -1;
    int lock_fd = real.open(path, O_RDWR | O_CLOEXEC);
    if (lock_fd < 0 || fstat(lock_fd, &st) < 0 || st.st_dev != t->map_dev || st.st_ino != t->map_ino) {
        int err = lock_fd < 0 ? errno : ESTALE;
        if (lock_fd >= 0) real.close(lock_fd);
        /* Dropped while we had it open: its contents no longer matter to anyone. */
        if (fstat(fd, &st) == 0 && st.st_nlink == 0) return LOCK_DROPPED;
        complain("%s: could not lock its map: %s", t->rel, strerror(err));
        return io_error();
    }
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = r.first, .l_len = r.end - r.first};
    while (fcntl(lock_fd, F_OFD_SETLKW, &lock) < 0) {
        if (errno == EINTR) continue;
        complain("%s: could not lock its map: %s", t->rel, strerror(errno));
        real.close(lock_fd);
        return io_error();
    }
    return lock_fd;
}

static int write_fully(int fd, const char *from, size_t size, off_t offset)
{
    while (size > 0) {
        ssize_t n = real.pwrite(fd, from, size, offset);
        if (n < 0 && errno == EINTR) continue;
        if (n == 0) errno = ENOSPC;
        if (n <= 0) return -1;
        from += n;
        offset += n;
        size -= (size_t) n;
    }
    return 0;
}

/* Through the descriptor, not the mapping: a full disk is then an error, not a SIGBUS. The lock's holder only. */
static int mark_present(const struct tracked *t, int lock_fd, struct range r)
{
    char marks[4096];
    memset(marks, PRESENT, sizeof marks);
    for (uint32_t b = r.first; b < r.end; b += sizeof marks) {
        size_t n = r.end - b < sizeof marks ? r.end - b : sizeof marks;
        if (write_fully(lock_fd, marks, n, b) == 0) continue;
        complain("%s: could not mark blocks %u..%u: %s", t->rel, r.first, r.end - 1, strerror(errno));
        return io_error();
    }
    return 0;
}

/* Writes fetched pages to the file. A descriptor opened for reading only is opened again for this. */
static int store(const struct tracked *t, int fd, const char *pages, struct range r)
{
    int to = fd;
    if (!t->writable) {
        char self[32];
        snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
        to = real.open(self, O_WRONLY | O_CLOEXEC);
        if (to < 0) return -1;
    }
    int result = write_fully(to, pages, (size_t) (r.end - r.first) * BLOCK_SIZE, (off_t) r.first * BLOCK_SIZE);
    int saved = errno;
    if (to != fd) real.close(to);
    errno = saved;
    return result;
}

struct range remote_run(const struct tracked *t, struct range r)
{
    while (r.first < r.end && is_present(t, r.first)) r.first++;
    uint32_t end = r.first;
    while (end < r.end && end - r.first < RUN_MAX && !is_present(t, end)) end++;
    return (struct range) {r.first, end};
}

/* Makes every block of `r` PRESENT. The caller holds the lock on it. */
static int fill_locked(const struct tracked *t, int fd, int lock_fd, struct range r, int64_t deadline_ms)
{
    for (struct range run = remote_run(t, r); run.first < run.end; run = remote_run(t, r)) {
        char why[512];
        agent_lock();
        const char *pages = agent_fetch(t->rel, run.first, run.end - run.first, deadline_ms, why, sizeof why);
        if (pages && store(t, fd, pages, run) < 0) {
            snprintf(why, sizeof why, "could not write them: %s", strerror(errno));
            pages = NULL;
        }
        agent_unlock();
        if (!pages) {
            complain("%s: blocks %u..%u: %s", t->rel, run.first, run.end - 1, why);
            return io_error();
        }
        if (mark_present(t, lock_fd, run) < 0) return -1;
        r.first = run.end;
    }
    return 0;
}

int ensure_present(const struct tracked *t, int fd, off_t offset, size_t size)
{
    struct range r = blocks_of(t, offset, size);
    if (__builtin_expect(all_present(t, r), 1)) return 0;
    int64_t deadline_ms = agent_deadline();
    int lock_fd = lock_blocks(t, fd, r);
    if (lock_fd < 0) return lock_fd == LOCK_DROPPED ? 0 : -1;
    int result = fill_locked(t, fd, lock_fd, r, deadline_ms);
    int saved = errno;
    real.close(lock_fd); /* and so unlocks */
    errno = saved;
    return result;
}

size_t total_size(const struct iovec *iov, int count)
{
    size_t size = 0;
    for (int i = 0; i < count; i++) size += iov[i].iov_len;
    return size;
}

static int write_vectors(int fd, const struct iovec *iov, int count, off_t offset)
{
    for (int i = 0; i < count; offset += (off_t) iov[i].iov_len, i++)
        if (write_fully(fd, iov[i].iov_base, iov[i].iov_len, offset) < 0) return -1;
    return 0;
}

ssize_t write_remote(const struct tracked *t, int fd, const struct iovec *iov, int count, off_t offset)
{
    size_t size = total_size(iov, count);
    struct range r = blocks_of(t, offset, size);
    int64_t deadline_ms = agent_deadline();
    int lock_fd = lock_blocks(t, fd, r);
    if (lock_fd == LOCK_DROPPED) return real.pwritev(fd, iov, count, offset);
    if (lock_fd < 0) return -1;
    struct range head = {r.first, offset % BLOCK_SIZE ? r.first + 1 : r.first};
    uint64_t whole_end = ((uint64_t) offset + size) / BLOCK_SIZE;
    struct range tail = {whole_end < r.end ? (uint32_t) whole_end : r.end, r.end};
    ssize_t result = -1;
    if (fill_locked(t, fd, lock_fd, head, deadline_ms) == 0 && fill_locked(t, fd, lock_fd, tail, deadline_ms) == 0 &&
        write_vectors(fd, iov, count, offset) == 0 && mark_present(t, lock_fd, r) == 0)
        result = (ssize_t) size;
    int saved = errno;
    real.close(lock_fd);
    errno = saved;
    return result;
}

int truncate_remote(const struct tracked *t, int fd, off_t size)
{
    if (size % BLOCK_SIZE && ensure_present(t, fd, size, 1) < 0) return -1;
    struct range r = {(uint32_t) ((size + BLOCK_SIZE - 1) / BLOCK_SIZE), t->nblocks};
    if (all_present(t, r)) return real.ftruncate(fd, size);
    int lock_fd = lock_blocks(t, fd, r);
    if (lock_fd == LOCK_DROPPED) return real.ftruncate(fd, size);
    if (lock_fd < 0) return -1;
    int result = real.ftruncate(fd, size);
    if (result == 0) result = mark_present(t, lock_fd, r);
    int saved = errno;
    real.close(lock_fd);
    errno = saved;
    return result;
}

