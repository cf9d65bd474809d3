/*
 * Preloaded into a daemon by tests: makes its disk slow or full and its wall clock wrong, as a control file says at each moment.
 *
 * CHAOS_CONTROL: the control file, eight 64-bit words in the machine's byte order, mapped shared (see fault-io.ts):
 *   0 sync delay in ms           for fsync, fdatasync, sync_file_range of files below CHAOS_DIR
 *   1 room in bytes, or -1       what files below CHAOS_DIR may still grow by; a write that needs more is cut short, then ENOSPC
 *   2 clock offset in ms         added to the wall clock; the monotonic clock is left alone, as by somebody who sets the clock
 *   3 syncs delayed   4 writes refused or cut short   5 readings of the wall clock that were shifted
 *   6 1 = statfs does not tell of the room, as with a quota   7 times that statfs told of it
 *
 * Overwriting what a file already has needs no room, as on a file system that writes in place.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { SYNC_DELAY_MS, ROOM, CLOCK_MS, SYNCS, WRITES, CLOCKS, QUOTA, TOLD, WORDS = 8 };

/* Until the control file is there: nothing is wrong. */
static _Atomic int64_t harmless[WORDS] = {[ROOM] = -1};
static _Atomic int64_t *control = harmless;
static char dir[PATH_MAX];
static size_t dir_length;

__attribute__((constructor)) static void attach(void)
{
	const char *file = getenv("CHAOS_CONTROL");
	const char *below = getenv("CHAOS_DIR");
	if (!file || !below || strlen(below) >= sizeof dir)
		return;
	int fd = open(file, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return;
	void *map = mmap(NULL, WORDS * sizeof(int64_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (map == MAP_FAILED)
		return;
	strcpy(dir, below);
	dir_length = strlen(dir);
	control = map;
}

#define REAL(name) \
	static __typeof__(&name) real; \
	if (!real) \
		real = (__typeof__(&name)) dlsym(RTLD_NEXT, #name)

static int is_below(int fd)
{
	char link[64], path[PATH_MAX];
	int saved = errno;
	char *end = link + sizeof link;
	*--end = 0;
	unsigned number = (unsigned) fd;
	do
		*--end = (char) ('0' + number % 10);
	while (number /= 10);
	end -= 14;
	memcpy(end, "/proc/self/fd/", 14);
	ssize_t length = readlink(end, path, sizeof path);
	errno = saved;
	return length > (ssize_t) dir_length && memcmp(path, dir, dir_length) == 0 && path[dir_length] == '/';
}

/* ---- slow ---- */

static void slow(int fd)
{
	int64_t ms = control[SYNC_DELAY_MS];
	if (ms <= 0 || !is_below(fd))
		return;
	struct timespec wait = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
	while (nanosleep(&wait, &wait) != 0 && errno == EINTR)
		;
	control[SYNCS]++;
}

int fsync(int fd)
{
	REAL(fsync);
	slow(fd);
	return real(fd);
}

int fdatasync(int fd)
{
	REAL(fdatasync);
	slow(fd);
	return real(fd);
}

int sync_file_range(int fd, off64_t offset, off64_t count, unsigned flags)
{
	REAL(sync_file_range);
	slow(fd);
	return real(fd, offset, count, flags);
}

/* ---- full ---- */

/*
 * How many of `length` bytes at `offset` (-1: where the file stands) may be written; takes their growth from the room. 0 with ENOSPC
 * when that is none.
 */
static size_t admit(int fd, off_t offset, size_t length)
{
	struct stat st;
	if (control[ROOM] < 0 || length == 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || !is_below(fd))
		return length;
	if (offset < 0)
		offset = fcntl(fd, F_GETFL) & O_APPEND ? st.st_size : lseek(fd, 0, SEEK_CUR);
	int64_t growth = (int64_t) offset + (int64_t) length - st.st_size;
	if (growth <= 0)
		return length;
	int64_t room = control[ROOM];
	for (;;) {
		int64_t taken = room < 0 || growth <= room ? growth : room;
		if (room >= 0 && !atomic_compare_exchange_weak(&control[ROOM], &room, room - taken))
			continue;
		if (taken == growth)
			return length;
		control[WRITES]++;
		size_t admitted = length - (size_t) (growth - taken);
		if (growth - taken >= (int64_t) length)
			admitted = 0;
		if (admitted == 0)
			errno = ENOSPC;
		return admitted;
	}
}

static size_t total(const struct iovec *parts, int count)
{
	size_t bytes = 0;
	for (int i = 0; i < count; i++)
		bytes += parts[i].iov_len;
	return bytes;
}

ssize_t write(int fd, const void *bytes, size_t length)
{
	REAL(write);
	size_t admitted = admit(fd, -1, length);
	return admitted == 0 && length > 0 ? -1 : real(fd, bytes, admitted);
}

#define PWRITE(name) \
	ssize_t name(int fd, const void *bytes, size_t length, off_t offset) \
	{ \
		REAL(name); \
		size_t admitted = admit(fd, offset, length); \
		return admitted == 0 && length > 0 ? -1 : real(fd, bytes, admitted, offset); \
	}
PWRITE(pwrite)
PWRITE(pwrite64)

/* A vector that does not fit is written one part at a time: the caller sees a short count. */
static ssize_t in_parts(int fd, const struct iovec *parts, int count, size_t admitted, off_t offset)
{
	ssize_t written = 0;
	for (int i = 0; i < count && admitted > 0; i++) {
		size_t length = parts[i].iov_len < admitted ? parts[i].iov_len : admitted;
		if (length == 0)
			continue;
		REAL(pwrite);
		static ssize_t (*here)(int, const void *, size_t);
		if (!here)
			here = (ssize_t (*)(int, const void *, size_t)) dlsym(RTLD_NEXT, "write");
		ssize_t n = offset < 0 ? here(fd, parts[i].iov_base, length) : real(fd, parts[i].iov_base, length, offset + written);
		if (n < 0)
			return written > 0 ? written : n;
		written += n;
		admitted -= (size_t) n;
		if ((size_t) n < length)
			break;
	}
	return written;
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
	REAL(writev);
	size_t length = total(parts, count), admitted = admit(fd, -1, length);
	if (admitted == length)
		return real(fd, parts, count);
	return admitted == 0 ? -1 : in_parts(fd, parts, count, admitted, -1);
}

#define PWRITEV(name) \
	ssize_t name(int fd, const struct iovec *parts, int count, off_t offset) \
	{ \
		REAL(name); \
		size_t length = total(parts, count), admitted = admit(fd, offset, length); \
		if (admitted == length) \
			return real(fd, parts, count, offset); \
		return admitted == 0 ? -1 : in_parts(fd, parts, count, admitted, offset); \
	}
PWRITEV(pwritev)
PWRITEV(pwritev64)

static int no_room_for(int fd, off_t length)
{
	int64_t room = control[ROOM];
	if (room < 0 || room >= length || !is_below(fd))
		return 0;
	control[WRITES]++;
	return 1;
}

#define FALLOCATE(name) \
	int name(int fd, int mode, off_t offset, off_t length) \
	{ \
		REAL(name); \
		if (!no_room_for(fd, length)) \
			return real(fd, mode, offset, length); \
		errno = ENOSPC; \
		return -1; \
	}
FALLOCATE(fallocate)
FALLOCATE(fallocate64)

#define POSIX_FALLOCATE(name) \
	int name(int fd, off_t offset, off_t length) \
	{ \
		REAL(name); \
		return no_room_for(fd, length) ? ENOSPC : real(fd, offset, length); \
	}
POSIX_FALLOCATE(posix_fallocate)
POSIX_FALLOCATE(posix_fallocate64)

/* The free space that is reported is the room that is left. */
#define STATFS(name, type, unit) \
	int name(const char *path, struct type *out) \
	{ \
		REAL(name); \
		int result = real(path, out); \
		int64_t room = control[ROOM]; \
		if (result == 0 && room >= 0 && !control[QUOTA] && strncmp(path, dir, dir_length) == 0) { \
			out->f_bavail = out->f_bfree = (uint64_t) room / (uint64_t) out->unit; \
			control[TOLD]++; \
		} \
		return result; \
	}
STATFS(statfs, statfs, f_bsize)
STATFS(statfs64, statfs64, f_bsize)
STATFS(statvfs, statvfs, f_frsize)
STATFS(statvfs64, statvfs64, f_frsize)

/* ---- wrong clock ---- */

static void shift(int64_t *seconds, long *parts, long parts_per_second, int64_t ms)
{
	int64_t sum = *parts + ms % 1000 * (parts_per_second / 1000);
	*seconds += ms / 1000;
	if (sum < 0) {
		sum += parts_per_second;
		(*seconds)--;
	} else if (sum >= parts_per_second) {
		sum -= parts_per_second;
		(*seconds)++;
	}
	*parts = (long) sum;
}

static void shift_timespec(struct timespec *at, int64_t ms)
{
	int64_t seconds = at->tv_sec;
	shift(&seconds, &at->tv_nsec, 1000000000, ms);
	at->tv_sec = seconds;
}

int clock_gettime(clockid_t clock, struct timespec *at)
{
	REAL(clock_gettime);
	int result = real(clock, at);
	int64_t ms = control[CLOCK_MS];
	if (result == 0 && ms != 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
		shift_timespec(at, ms);
		control[CLOCKS]++;
	}
	return result;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone)
{
	REAL(gettimeofday);
	int result = real(at, zone);
	int64_t ms = control[CLOCK_MS];
	if (result == 0 && ms != 0) {
		int64_t seconds = at->tv_sec;
		long micros = at->tv_usec;
		shift(&seconds, &micros, 1000000, ms);
		at->tv_sec = seconds;
		at->tv_usec = micros;
		control[CLOCKS]++;
	}
	return result;
}

time_t time(time_t *out)
{
	struct timespec at;
	clock_gettime(CLOCK_REALTIME, &at);
	if (out)
		*out = at.tv_sec;
	return at.tv_sec;
}

/*
 * Waits until a time of the wall clock are given back in the kernel's: it knows nothing of our offset. A deadline of the monotonic clock
 * (which libuv uses) is told by its size: that clock counts from the machine's start.
 */
static const struct timespec *kernel_time(const struct timespec *deadline, struct timespec *into)
{
	int64_t ms = control[CLOCK_MS];
	if (ms == 0 || deadline->tv_sec < 1000000000)
		return deadline;
	*into = *deadline;
	shift_timespec(into, -ms);
	return into;
}

int pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex, const struct timespec *restrict deadline)
{
	static int (*real)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
	struct timespec shifted;
	if (!real)
		*(void **) &real = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
	if (!real)
		*(void **) &real = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
	return real(cond, mutex, kernel_time(deadline, &shifted));
}

int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict deadline)
{
	REAL(sem_timedwait);
	struct timespec shifted;
	return real(semaphore, kernel_time(deadline, &shifted));
}
