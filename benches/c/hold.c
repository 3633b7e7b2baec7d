/* Opens CONNECTIONS connections and holds them idle until stdin ends. `paced` echoes one message on
 * every 128th and on the last, so the server has accepted all of them when "held" is printed;
 * `unpaced` is for a server that does not echo: it pauses now and then instead.
 * usage: hold ADDRESS WIRE CONNECTIONS paced|unpaced */
#define _GNU_SOURCE
#include "bench.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PACE = 128, SIZE = 64, PAUSE_US = 20000 };

static void echo_once(int fd, enum wire wire) {
    unsigned char buffer[SIZE + OVERHEAD];
    send_all(fd, buffer, encode_frame(buffer, wire, SIZE));
    struct parser parser = {.wire = wire};
    for (;;) {
        ssize_t got = recv(fd, buffer, sizeof buffer, 0);
        if (got == 0) errno = 0;
        if (got <= 0) fail("the server closed a connection");
        if (parse_messages(&parser, buffer, (size_t)got)) return;
    }
}

int main(int count, char **words) {
    if (count != 5) fail("usage: hold ADDRESS WIRE CONNECTIONS paced|unpaced");
    enum wire wire = wire_named(words[2]);
    unsigned connections = (unsigned)atoi(words[3]);
    int paced = strcmp(words[4], "paced") == 0;
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    for (unsigned i = 0; i < connections; i++) {
        int fd = connect_to(words[1], i + 1);
        handshake(fd, wire, "DEALER");
        if (i % PACE != PACE - 1 && i != connections - 1) continue;
        if (paced) echo_once(fd, wire);
        else usleep(PAUSE_US);
    }
    puts("held");
    fflush(stdout);
    while (getchar() != EOF) continue;
    return 0;
}
