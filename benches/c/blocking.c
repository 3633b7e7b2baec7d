/* The C reference of blocking sockets: one connection, u32 frames, one recv and one send for a message.
 * usage: blocking echo ADDRESS | blocking ping ADDRESS SIZE SECONDS */
#include "bench.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUFFER = 1 << 20 };

static unsigned char buffer[BUFFER];

/* Receives one frame and gives its size with the header; 0 at the end. */
static size_t receive_frame(int fd) {
    size_t have = 0, want = 4;
    while (have < want) {
        ssize_t got = recv(fd, buffer + have, sizeof buffer - have, 0);
        if (got <= 0) return 0;
        have += (size_t)got;
        if (have >= 4) {
            uint32_t size;
            memcpy(&size, buffer, 4);
            want = 4 + (size_t)ntohl(size);
            if (want > sizeof buffer) fail("a frame of %zu bytes", want);
        }
    }
    return want;
}

static void echo(const char *address) {
    int listener = listen_at(address);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0) fail("accept");
        if (strncmp(address, "unix", 4)) set_nodelay(fd);
        for (size_t size; (size = receive_frame(fd)) && try_send_all(fd, buffer, size);) {}
        close(fd);
    }
}

static void ping(const char *address, size_t size, double seconds) {
    unsigned char *frame = malloc(size + 16);
    size_t length = encode_frame(frame, WIRE_U32, size);
    int fd = connect_to(address, 0);
    uint64_t count = 0;
    double begin = now(), end = begin + 0.1;
    for (int warm = 0;;) {
        send_all(fd, frame, length);
        if (receive_frame(fd) != length) fail("the answer is not what was sent");
        count++;
        double at = now();
        if (at < end) continue;
        if (warm) {
            report(count, at - begin);
            return;
        }
        warm = 1;
        count = 0;
        begin = at;
        end = at + seconds;
    }
}

int main(int argc, char **argv) {
    if (argc == 3 && !strcmp(argv[1], "echo")) echo(argv[2]);
    if (argc != 5 || strcmp(argv[1], "ping")) fail("usage: blocking echo ADDRESS | blocking ping ADDRESS SIZE SECONDS");
    ping(argv[2], (size_t)atol(argv[3]), atof(argv[4]));
    return 0;
}
