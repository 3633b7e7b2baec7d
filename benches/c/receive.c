/* The C reference of a receiver: takes u32 frames until end of stream, then answers with their count.
 * `count` walks the frames in a shared buffer; `bulk` receives every message into its own place.
 * usage: receive ADDRESS count|bulk */
#define _GNU_SOURCE
#include "bench.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUFFER = 262144, LARGEST = 16 << 20 };

static uint64_t count_frames(int fd) {
    static unsigned char buffer[BUFFER];
    uint64_t messages = 0;
    size_t have = 0;
    for (;;) {
        ssize_t got = recv(fd, buffer + have, sizeof buffer - have, 0);
        if (got <= 0) return messages;
        have += (size_t)got;
        size_t at = 0;
        while (have - at >= 4) {
            uint32_t size;
            memcpy(&size, buffer + at, 4);
            size = ntohl(size);
            if (size > sizeof buffer - 4) fail("a frame too long");
            if (have - at - 4 < size) break;
            at += 4 + size;
            messages++;
        }
        have -= at;
        memmove(buffer, buffer + at, have);
    }
}

static uint64_t receive_bulk(int fd) {
    unsigned char *message = malloc(LARGEST);
    for (uint64_t messages = 0;; messages++) {
        uint32_t size;
        if (recv(fd, &size, 4, MSG_WAITALL) != 4) {
            free(message);
            return messages;
        }
        size = ntohl(size);
        if (size > LARGEST) fail("a frame too long");
        for (size_t have = 0; have < size;) {
            ssize_t got = recv(fd, message + have, size - have, 0);
            if (got <= 0) fail("the end came within a frame");
            have += (size_t)got;
        }
    }
}

int main(int count, char **words) {
    if (count != 3) fail("usage: receive ADDRESS count|bulk");
    int listener = listen_at(words[1]), bulk = strcmp(words[2], "bulk") == 0;
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0) fail("accept");
        uint64_t messages = bulk ? receive_bulk(fd) : count_frames(fd);
        unsigned char reply[12] = {[3] = 8};
        for (int i = 0; i < 8; i++) reply[4 + i] = (unsigned char)(messages >> (56 - 8 * i));
        try_send_all(fd, reply, sizeof reply);
        close(fd);
    }
}
