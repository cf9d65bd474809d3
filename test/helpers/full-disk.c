/*
 * A disk that can be full at will, for where no file system may be mounted: preloaded into a process, it refuses with ENOSPC what would take room below
 * the folder FULL_DISK_DIR, as long as the file FULL_DISK_FLAG exists. Writing over what is there needs no room.
 */
#define _GNU_SOURCE
#undef _FILE_OFFSET_BITS
#undef _FORTIFY_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name)) dlsym(RTLD_NEXT, #name))

static int is_full(void)
{
    const char *flag = getenv("FULL_DISK_FLAG");
    return flag && access(flag, F_OK) == 0;
}

static int is_below(const char *path)
{
    const char *dir = getenv("FULL_DISK_DIR");
    return dir && strncmp(path, dir, strlen(dir)) == 0;
}

static int refuses(int fd, off_t end)
{
    char link[64], path[PATH_MAX];
    struct stat st;
    int saved = errno;
    if (!is_full()) return errno = saved, 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0) return errno = saved, 0;
    path[n] = 0;
    if (!is_below(path) || fstat(fd, &st) < 0 || (S_ISREG(st.st_mode) && end <= st.st_size)) return errno = saved, 0;
    errno = ENOSPC;
    return 1;
}

static off_t size_of(const struct iovec *iov, int count)
{
    off_t size = 0;
    for (int i = 0; i < count; i++) size += (off_t) iov[i].iov_len;
    return size;
}

static off_t here(int fd)
{
    struct stat st;
    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0 && (flags & O_APPEND) && fstat(fd, &st) == 0) return st.st_size;
    off_t at = lseek(fd, 0, SEEK_CUR);
    return at < 0 ? 0 : at;
}

ssize_t write(int fd, const void *buf, size_t size)
{
    return refuses(fd, here(fd) + (off_t) size) ? -1 : REAL(write)(fd, buf, size);
}

ssize_t writev(int fd, const struct iovec *iov, int count)
{
    return refuses(fd, here(fd) + size_of(iov, count)) ? -1 : REAL(writev)(fd, iov, count);
}

ssize_t pwrite(int fd, const void *buf, size_t size, off_t at)
{
    return refuses(fd, at + (off_t) size) ? -1 : REAL(pwrite)(fd, buf, size, at);
}

ssize_t pwrite64(int fd, const void *buf, size_t size, off64_t at) { return pwrite(fd, buf, size, at); }

ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t at)
{
    return refuses(fd, at + size_of(iov, count)) ? -1 : REAL(pwritev)(fd, iov, count, at);
}

ssize_t pwritev64(int fd, const struct iovec *iov, int count, off64_t at) { return pwritev(fd, iov, count, at); }

int fallocate(int fd, int mode, off_t at, off_t size)
{
    return refuses(fd, LONG_MAX) ? -1 : REAL(fallocate)(fd, mode, at, size);
}

int fallocate64(int fd, int mode, off64_t at, off64_t size) { return fallocate(fd, mode, at, size); }

static int open_file(const char *path, int flags, mode_t mode)
{
    if ((flags & O_CREAT) && is_below(path) && access(path, F_OK) < 0 && is_full()) {
        errno = ENOSPC;
        return -1;
    }
    return REAL(open)(path, flags, mode);
}

#define OPEN_WITH                                \
    mode_t mode = 0;                             \
    if (flags & O_CREAT) {                       \
        va_list args;                            \
        va_start(args, flags);                   \
        mode = (mode_t) va_arg(args, int);       \
        va_end(args);                            \
    }                                            \
    return open_file(path, flags, mode)

int open(const char *path, int flags, ...) { OPEN_WITH; }
int open64(const char *path, int flags, ...) { OPEN_WITH; }

int statfs(const char *path, struct statfs *out)
{
    int result = REAL(statfs)(path, out);
    if (result == 0 && is_below(path) && is_full()) out->f_bavail = out->f_bfree = 0;
    return result;
}

int statfs64(const char *path, struct statfs64 *out) { return statfs(path, (struct statfs *) out); }
