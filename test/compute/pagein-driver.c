/*
 * Makes the calls that PostgreSQL makes, one per line of standard input, and prints one line each: the number returned and
 * what was read, as runs of equal bytes ("65x8192"), or "-1 ERRNO". Files stay open by number, as `open` printed it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define ROOM (4 << 20)
static unsigned char buf[ROOM];

static void print(ssize_t n, const unsigned char *bytes)
{
    if (n < 0) printf("-1 %s", errno == EIO ? "EIO" : strerror(errno));
    else printf("%zd", n);
    for (ssize_t i = 0, j; bytes && i < n; i = j) {
        for (j = i; j < n && bytes[j] == bytes[i]; j++) {}
        printf(" %dx%zd", bytes[i], j - i);
    }
    printf("\n");
    fflush(stdout);
}

static int flags_of(const char *text)
{
    int flags = strchr(text, 'w') ? O_RDWR : O_RDONLY;
    if (strchr(text, 'c')) flags |= O_CREAT;
    if (strchr(text, 'x')) flags |= O_EXCL;
    if (strchr(text, 't')) flags |= O_TRUNC;
    return flags;
}

static void perform(const char *line)
{
    static char name[64], a[4096], b[4096];
    long n[4] = {0, 0, 0, 0};
    if (sscanf(line, "%63s %4095s %4095s", name, a, b) < 2) abort();
    sscanf(line, "%*s %ld %ld %ld %ld", &n[0], &n[1], &n[2], &n[3]);
    int fd = (int) n[0];
    size_t half = (size_t) n[1] / 2;
    struct iovec iov[2] = {{buf, half}, {buf + half, (size_t) n[1] - half}};
#define IS(text) (strcmp(name, text) == 0)
    if (IS("open")) print(open(a, flags_of(b), 0600), NULL);
    else if (IS("close")) print(close(fd), NULL);
    else if (IS("dup2")) print(dup2(fd, (int) n[1]), NULL);
    else if (IS("read")) print(read(fd, buf, (size_t) n[1]), buf);
    /* FD SIZE OFFSET [VALUE] */
    else if (IS("pread")) print(pread(fd, buf, (size_t) n[1], n[2]), buf);
    else if (IS("preadv")) print(preadv(fd, iov, 2, n[2]), buf);
    else if (IS("pwrite")) print(pwrite(fd, memset(buf, (int) n[3], (size_t) n[1]), (size_t) n[1], n[2]), NULL);
    else if (IS("pwritev")) {
        memset(buf, (int) n[3], (size_t) n[1]);
        print(pwritev(fd, iov, 2, n[2]), NULL);
    } else if (IS("write")) print(write(fd, memset(buf, (int) n[3], (size_t) n[1]), (size_t) n[1]), NULL);
    else if (IS("willneed")) print(posix_fadvise(fd, n[2], n[1], POSIX_FADV_WILLNEED), NULL);
    else if (IS("fallocate")) print(posix_fallocate(fd, n[2], n[1]), NULL);
    else if (IS("ftruncate")) print(ftruncate(fd, n[1]), NULL);
    else if (IS("truncate")) print(truncate(a, atol(b)), NULL);
    else if (IS("unlink")) print(unlink(a), NULL);
    else if (IS("rename")) print(rename(a, b), NULL);
    else if (IS("copy")) print(copy_file_range(fd, NULL, (int) n[1], NULL, (size_t) n[2], 0), NULL);
    else if (IS("fopen")) {
        FILE *f = fopen(a, "rb");
        print(f ? (ssize_t) fread(buf, 1, ROOM, f) : -1, f ? buf : NULL);
        if (f) fclose(f);
    } else if (IS("repeat")) { /* FD TIMES BLOCKS: reads blocks 0 to BLOCKS - 1 in turn */
        for (long i = 0; i < n[1]; i++)
            if (pread(fd, buf, 8192, i % n[2] * 8192) != 8192) abort();
        print(0, NULL);
    } else abort();
}

int main(void)
{
    static char line[16384];
    while (fgets(line, sizeof line, stdin)) perform(line);
    return 0;
}
