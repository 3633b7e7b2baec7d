/* See bench.h. */
#define _GNU_SOURCE
#include "bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { BACKLOG = 4096, CONNECTIONS_PER_SOURCE = 20000 };

void fail(const char *format, ...) {
    int error = errno;
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, error ? " (%s)\n" : "\n", strerror(error));
    exit(1);
}

double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

enum wire wire_named(const char *name) {
    if (strcmp(name, "u32") == 0) return WIRE_U32;
    if (strcmp(name, "websocket") == 0) return WIRE_WEBSOCKET;
    if (strcmp(name, "zmtp") == 0) return WIRE_ZMTP;
    if (strcmp(name, "native") == 0) return WIRE_NATIVE;
    if (strcmp(name, "nats") == 0) return WIRE_NATS;
    if (strcmp(name, "redis") == 0) return WIRE_REDIS;
    errno = 0;
    fail("unknown framing %s", name);
}

struct target {
    socklen_t size;
    union {
        struct sockaddr any;
        struct sockaddr_in tcp;
        struct sockaddr_un unix_path;
    } at;
};

static struct target parse_address(const char *text) {
    struct target target;
    memset(&target, 0, sizeof target);
    errno = 0;
    if (strncmp(text, "unix://", 7) == 0) {
        target.at.unix_path.sun_family = AF_UNIX;
        if (strlen(text + 7) >= sizeof target.at.unix_path.sun_path) fail("path too long: %s", text);
        strcpy(target.at.unix_path.sun_path, text + 7);
        target.size = sizeof target.at.unix_path;
        return target;
    }
    char host[64];
    unsigned port;
    if (sscanf(text, "tcp://%63[0-9.]:%u", host, &port) != 2) fail("not an address: %s", text);
    target.at.tcp.sin_family = AF_INET;
    target.at.tcp.sin_port = htons((uint16_t)port);
    if (inet_pton(AF_INET, host, &target.at.tcp.sin_addr) != 1) fail("not an IPv4 host: %s", text);
    target.size = sizeof target.at.tcp;
    return target;
}

void set_nonblocking(int fd) {
    if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0) fail("fcntl");
}

void set_nodelay(int fd) { /* fails harmlessly on a Unix socket */
    int yes = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
}

void set_congestion(int fd, const char *name) {
    if (strcmp(name, "-") == 0) return;
    if (setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, (socklen_t)strlen(name)) < 0)
        fail("congestion control %s", name);
}

int listen_at(const char *text) {
    struct target target = parse_address(text);
    int fd = socket(target.at.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
    if (fd < 0) fail("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(fd, &target.at.any, target.size) < 0) fail("bind %s", text);
    if (listen(fd, BACKLOG) < 0) fail("listen %s", text);
    if (target.at.any.sa_family == AF_INET) {
        socklen_t size = sizeof target.at.tcp;
        getsockname(fd, &target.at.any, &size);
        char host[INET_ADDRSTRLEN];
        inet_ntop(AF_INET, &target.at.tcp.sin_addr, host, sizeof host);
        printf("ready tcp://%s:%u\n", host, ntohs(target.at.tcp.sin_port));
    } else {
        printf("ready %s\n", text);
    }
    fflush(stdout);
    return fd;
}

static int open_socket(const struct target *target, int flags) {
    int fd = socket(target->at.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    if (fd < 0) fail("socket");
    set_nodelay(fd);
    return fd;
}

int connect_to(const char *text, unsigned index) {
    struct target target = parse_address(text);
    int fd = open_socket(&target, 0);
    if (index > 0 && target.at.any.sa_family == AF_INET) {
        int yes = 1;
        struct sockaddr_in source = {.sin_family = AF_INET};
        source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + (uint32_t)(getpid() % 4096) * 64 + index / CONNECTIONS_PER_SOURCE);
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
        if (bind(fd, (struct sockaddr *)&source, sizeof source) < 0) fail("bind to a source address");
    }
    if (connect(fd, &target.at.any, target.size) < 0) fail("connect %s", text);
    return fd;
}

int start_connecting(const char *text) {
    struct target target = parse_address(text);
    int fd = open_socket(&target, SOCK_NONBLOCK);
    if (connect(fd, &target.at.any, target.size) < 0 && errno != EINPROGRESS) fail("connect %s", text);
    return fd;
}

int try_send_all(int fd, const void *data, size_t size) {
    const char *at = data;
    while (size > 0) {
        ssize_t sent = send(fd, at, size, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno != EAGAIN) return 0;
            struct pollfd writable = {.fd = fd, .events = POLLOUT};
            poll(&writable, 1, -1);
            continue;
        }
        at += sent;
        size -= (size_t)sent;
    }
    return 1;
}

void send_all(int fd, const void *data, size_t size) {
    if (!try_send_all(fd, data, size)) fail("send");
}

void report(uint64_t count, double seconds) {
    printf("{\"count\": %" PRIu64 ", \"seconds\": %.9f}\n", count, seconds);
    fflush(stdout);
}
