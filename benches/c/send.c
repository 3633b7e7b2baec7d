/* The C reference of a sender: to whoever connects, one system call per message (`each`) or 64 KiB of
 * messages per call (`gathered`; the frames are built anew each time).
 * usage: send ADDRESS each|gathered SIZE */
#define _GNU_SOURCE
#include "bench.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { GATHER = 65536 };

int main(int count, char **words) {
    if (count != 4) fail("usage: send ADDRESS each|gathered SIZE");
    size_t size = (size_t)atoi(words[3]);
    size_t per_batch = strcmp(words[2], "each") == 0 || size + 16 > GATHER ? 1 : GATHER / (size + 16);
    unsigned char *batch = malloc(per_batch * (size + 16));
    int listener = listen_at(words[1]);
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0) fail("accept");
        set_nodelay(fd);
        size_t batch_size;
        do {
            batch_size = 0;
            for (size_t i = 0; i < per_batch; i++) batch_size += encode_frame(batch + batch_size, WIRE_U32, size);
        } while (try_send_all(fd, batch, batch_size));
        close(fd);
    }
}
