#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { OP_FETCH = 1, OP_HINT = 2, OP_PUTFILE = 3 };
enum { STATUS_OK = 0, STATUS_RETRY = 1, STATUS_READ_ONLY = 3 };

#define REQUEST_MAGIC 0x4950414fu /* "OAPI" */
#define REPLY_MAGIC 0x5250414fu   /* "OAPR" */
#define PROTOCOL_VERSION 1
#define BACKOFF_MS_MIN 10
#define BACKOFF_MS_MAX 500

/* Both structs are the wire format: little-endian, 16 bytes, no padding. */
struct request {
    uint32_t magic;
    uint8_t version, op;
    uint16_t name_size;
    uint32_t first;
    uint32_t count; /* blocks; PUTFILE: bytes of content */
};
struct reply {
    uint32_t magic;
    uint8_t version, status;
    uint16_t reserved;
    uint32_t count;
    uint32_t size; /* payload bytes that follow: pages, or a message */
};
_Static_assert(sizeof(struct request) == 16 && sizeof(struct reply) == 16, "wire format");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the protocol is little-endian");

static char socket_path[sizeof(((struct sockaddr_un *) 0)->sun_path)];
static int timeout_ms = 60000;

static int connection = -1;
static pid_t connection_pid; /* the process that made it: a forked child must not share a stream */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static char *pages;
static size_t pages_size;

void agent_configure(const char *path, int patience_ms)
{
    snprintf(socket_path, sizeof socket_path, "%s", path);
    if (strlen(path) >= sizeof socket_path) socket_path[0] = '\0'; /* connect then says so, rather than reach a wrong socket */
    if (patience_ms > 0) timeout_ms = patience_ms;
}

int64_t agent_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t agent_deadline(void) { return agent_now_ms() + timeout_ms; }

void agent_lock(void) { pthread_mutex_lock(&mutex); }
void agent_unlock(void) { pthread_mutex_unlock(&mutex); }

static void disconnect(void)
{
    if (connection >= 0) close(connection);
    connection = -1;
}

static int fail(char *why, size_t why_size, const char *what)
{
    int err = errno;
    snprintf(why, why_size, "page agent %s: %s: %s", socket_path, what, strerror(err));
    disconnect();
    return -1;
}

/* 0 when the connection is ready for `events`; -1 with errno (ETIMEDOUT at the deadline). */
static int wait_for(short events, int64_t deadline_ms)
{
    for (;;) {
        int64_t left = deadline_ms - agent_now_ms();
        struct pollfd p = {.fd = connection, .events = events};
        int n = poll(&p, 1, left > 0 ? (int) left : 0);
        if (n > 0) return 0;
        if (n == 0) {
            errno = ETIMEDOUT;
            return -1;
        }
        if (errno != EINTR) return -1;
    }
}

static int connect_agent(char *why, size_t why_size)
{
    if (connection >= 0 && connection_pid == getpid()) return 0;
    disconnect();
    if (socket_path[0] == '\0') {
        errno = ENAMETOOLONG;
        return fail(why, why_size, "socket path");
    }
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    memcpy(addr.sun_path, socket_path, sizeof socket_path);
    connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (connection < 0) return fail(why, why_size, "socket");
    connection_pid = getpid();
    /* A unix socket connects at once or not at all (EAGAIN: the listener's queue is full; the caller tries again). */
    if (connect(connection, (struct sockaddr *) &addr, sizeof addr) < 0) return fail(why, why_size, "connect");
    return 0;
}

static void skip(struct iovec *iov, size_t n)
{
    for (int i = 0; i < 3; i++) {
        size_t step = n < iov[i].iov_len ? n : iov[i].iov_len;
        iov[i].iov_base = (char *) iov[i].iov_base + step;
        iov[i].iov_len -= step;
        n -= step;
    }
}

static int send_request(struct request *req, const char *name, const char *content, int64_t deadline_ms)
{
    size_t left = sizeof *req + req->name_size + (content ? req->count : 0);
    struct iovec iov[3] = {{req, sizeof *req}, {(void *) name, req->name_size}, {(void *) content, content ? req->count : 0}};
    while (left > 0) {
        struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 3};
        ssize_t n = sendmsg(connection, &msg, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno == EINTR) continue;
            if (errno != EAGAIN || wait_for(POLLOUT, deadline_ms) < 0) return -1;
            continue;
        }
        skip(iov, (size_t) n);
        left -= (size_t) n;
    }
    return 0;
}

/* Reads one reply; its payload goes to `pages`. Only one request is ever open, so nothing beyond the reply can be read. */
static int receive_reply(struct reply *rep, int64_t deadline_ms)
{
    size_t got = 0, want = sizeof *rep;
    while (got < want) {
        if (wait_for(POLLIN, deadline_ms) < 0) return -1;
        struct iovec iov[3] = {{rep, sizeof *rep}, {pages, pages_size}, {NULL, 0}};
        skip(iov, got);
        struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
        ssize_t n = recvmsg(connection, &msg, 0);
        if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        if (n <= 0) {
            if (n == 0) errno = ECONNRESET;
            return -1;
        }
        got += (size_t) n;
        if (got >= sizeof *rep) {
            if (rep->magic != REPLY_MAGIC || rep->version != PROTOCOL_VERSION || rep->size > pages_size) {
                errno = EPROTO;
                return -1;
            }
            want = sizeof *rep + rep->size;
        }
    }
    if (got == want) return 0;
    errno = EPROTO;
    return -1;
}

static int reserve_pages(size_t size)
{
    if (size <= pages_size) return 0;
    free(pages);
    pages_size = 0;
    int err = posix_memalign((void **) &pages, 4096, size);
    if (err != 0) {
        pages = NULL;
        errno = err;
        return -1;
    }
    pages_size = size;
    return 0;
}

/* One attempt. 0 done, 1 worth another try, -1 final. */
static int attempt(struct request *req, const char *name, const char *content, int64_t deadline_ms, char *why, size_t why_size)
{
    struct reply rep;
    if (connect_agent(why, why_size) < 0) return 1;
    if (send_request(req, name, content, deadline_ms) < 0) {
        fail(why, why_size, "send");
        return 1;
    }
    if (receive_reply(&rep, deadline_ms) < 0) {
        fail(why, why_size, "receive");
        return 1;
    }
    if (rep.status == STATUS_OK) {
        uint32_t expected = req->op == OP_FETCH ? req->count * BLOCK_SIZE : 0;
        if (rep.size == expected) return 0;
        errno = EPROTO;
        fail(why, why_size, "reply of a wrong size");
        return -1;
    }
    snprintf(why, why_size, "%.*s", (int) rep.size, pages);
    errno = rep.status == STATUS_READ_ONLY ? EROFS : EIO;
    return rep.status == STATUS_RETRY ? 1 : -1;
}

static int call(struct request *req, const char *name, const char *content, int64_t deadline_ms, char *why, size_t why_size)
{
    size_t room = req->op == OP_FETCH ? (size_t) req->count * BLOCK_SIZE : BLOCK_SIZE; /* at least a message */
    if (reserve_pages(room < 16 * BLOCK_SIZE ? 16 * BLOCK_SIZE : room) < 0) {
        snprintf(why, why_size, "out of memory");
        return -1;
    }
    for (int pause_ms = BACKOFF_MS_MIN;; pause_ms = pause_ms * 2 < BACKOFF_MS_MAX ? pause_ms * 2 : BACKOFF_MS_MAX) {
        int outcome = attempt(req, name, content, deadline_ms, why, why_size);
        if (outcome <= 0) return outcome;
        int64_t left = deadline_ms - agent_now_ms();
        if (left <= 0) return -1;
        struct timespec nap = {.tv_sec = 0, .tv_nsec = (left < pause_ms ? left : pause_ms) * 1000000L};
        nanosleep(&nap, NULL); /* a signal only shortens the pause */
    }
}

static struct request make_request(uint8_t op, const char *name, uint32_t first, uint32_t count)
{
    return (struct request) {REQUEST_MAGIC, PROTOCOL_VERSION, op, (uint16_t) strlen(name), first, count};
}

const char *agent_fetch(const char *rel, uint32_t first, uint32_t count, int64_t deadline_ms, char *why, size_t why_size)
{
    struct request req = make_request(OP_FETCH, rel, first, count);
    return call(&req, rel, NULL, deadline_ms, why, why_size) == 0 ? pages : NULL;
}

void agent_hint(const char *rel, uint32_t first, uint32_t count)
{
    char why[8];
    struct request req = make_request(OP_HINT, rel, first, count);
    agent_lock();
    /* A deadline in the past: a full socket drops the connection instead of making a hint wait. */
    if (connect_agent(why, sizeof why) == 0 && send_request(&req, rel, NULL, 0) < 0) disconnect();
    agent_unlock();
}

int agent_put_file(const char *name, const char *content, uint32_t size, char *why, size_t why_size)
{
    struct request req = make_request(OP_PUTFILE, name, 0, size);
    agent_lock();
    int result = call(&req, name, content, agent_deadline(), why, why_size);
    agent_unlock();
    return result;
}
