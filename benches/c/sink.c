/* Counts the messages that a server sends to whoever connects.
 * usage: sink ADDRESS WIRE SIZE SECONDS */
#define _GNU_SOURCE
#include "bench.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

enum { BUFFER = 262144 };
static const double WARM_UP = 0.1;

int main(int count, char **words) {
    if (count != 5) fail("usage: sink ADDRESS WIRE SIZE SECONDS");
    static unsigned char buffer[BUFFER];
    struct parser parser = {.wire = wire_named(words[2])};
    size_t size = (size_t)atoi(words[3]);
    double seconds = atof(words[4]);
    int fd = connect_to(words[1], 0);
    handshake(fd, parser.wire, "PULL");
    uint64_t messages = 0;
    double start = now(), end = start + WARM_UP;
    for (int warm = 0;;) {
        ssize_t got = recv(fd, buffer, sizeof buffer, 0);
        if (got == 0) errno = 0;
        if (got <= 0) fail("the sender closed the connection");
        uint64_t more = parse_messages(&parser, buffer, (size_t)got);
        errno = 0;
        if (more && parser.last_size != size) fail("a message of the wrong length");
        messages += more;
        double time = now();
        if (time < end) continue;
        if (warm) break;
        warm = 1;
        messages = 0;
        start = time;
        end = start + seconds;
    }
    report(messages, now() - start);
    return 0;
}
