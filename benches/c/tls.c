/* The C reference over TLS 1.3, by OpenSSL: the same frames as send.c, receive.c, source.c and sink.c, whose roles it has.
 * One blocking connection at a time. SSL_write is given a whole frame, which OpenSSL divides into records of 16 KiB;
 * SSL_read asks for what the message lacks. (Reading ahead was tried with 32 KiB to 1 MiB: it is slower, by a copy.)
 * The client's one suite is the connection's, whoever the server is: AES128 or AES256 (GCM). It is checked, and reported.
 * usage: tls send ADDRESS SIZE CERT KEY | tls receive ADDRESS CERT KEY | tls source|sink ADDRESS SIZE SECONDS SUITE
 *        tls version */
#define _GNU_SOURCE
#include "bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SINK_BUFFER = 65536, LARGEST = 16 << 20 };

_Noreturn static void fail_tls(const char *what) {
    errno = 0;
    unsigned long error = ERR_get_error();
    fail("%s: %s", what, error ? ERR_reason_error_string(error) : "the connection ended");
}

static SSL_CTX *context(const SSL_METHOD *method) {
    SSL_CTX *context = SSL_CTX_new(method);
    if (!context || !SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION)) fail_tls("a context");
    SSL_CTX_set_mode(context, SSL_MODE_AUTO_RETRY);
    return context;
}

static SSL_CTX *server_context(const char *certificate, const char *key) {
    SSL_CTX *made = context(TLS_server_method());
    SSL_CTX_set_num_tickets(made, 0);
    if (SSL_CTX_use_certificate_chain_file(made, certificate) != 1) fail_tls(certificate);
    if (SSL_CTX_use_PrivateKey_file(made, key, SSL_FILETYPE_PEM) != 1) fail_tls(key);
    return made;
}

/* Nobody's certificate is looked at: this is loopback, and the load is not what is measured. */
static SSL *connect_with(const char *address, const char *suite) {
    char name[64];
    snprintf(name, sizeof name, "TLS_%s", suite);
    SSL_CTX *made = context(TLS_client_method());
    if (SSL_CTX_set_ciphersuites(made, name) != 1) fail_tls(name);
    SSL *tls = SSL_new(made);
    SSL_set_fd(tls, connect_to(address, 0));
    if (SSL_connect(tls) != 1) fail_tls("the handshake");
    errno = 0;
    if (strcmp(SSL_get_cipher_name(tls), name) != 0) fail("%s was agreed on", SSL_get_cipher_name(tls));
    return tls;
}

static void report_tls(SSL *tls, uint64_t messages, double seconds) {
    printf("{\"count\": %" PRIu64 ", \"seconds\": %.9f, \"cipher\": \"%s %s\"}\n", messages, seconds, SSL_get_version(tls),
           SSL_get_cipher_name(tls));
    fflush(stdout);
}

/* 0 at the end of the stream; half a message is a failure. */
static int read_exactly(SSL *tls, unsigned char *into, size_t size) {
    for (size_t have = 0; have < size;) {
        int got = SSL_read(tls, into + have, (int)(size - have));
        if (got <= 0 && have == 0 && SSL_get_error(tls, got) == SSL_ERROR_ZERO_RETURN) return 0;
        if (got <= 0) fail_tls("receiving");
        have += (size_t)got;
    }
    return 1;
}

static void serve_receiving(SSL *tls) {
    unsigned char *message = malloc(LARGEST);
    uint64_t messages = 0;
    uint32_t size;
    while (read_exactly(tls, (unsigned char *)&size, 4)) {
        size = ntohl(size);
        if (size > LARGEST) fail("a frame too long");
        if (!read_exactly(tls, message, size)) fail("the end came within a frame");
        messages++;
    }
    free(message);
    unsigned char reply[12] = {[3] = 8};
    for (int i = 0; i < 8; i++) reply[4 + i] = (unsigned char)(messages >> (56 - 8 * i));
    if (SSL_write(tls, reply, sizeof reply) <= 0) fail_tls("answering");
    SSL_shutdown(tls);
}

static void serve_sending(SSL *tls, size_t size) {
    unsigned char *frame = malloc(size + OVERHEAD);
    size_t length = 0;
    do {
        length = encode_frame(frame, WIRE_U32, size);
    } while (SSL_write(tls, frame, (int)length) > 0);
    free(frame);
}

static void serve(const char *address, SSL_CTX *made, size_t size) {
    int listener = listen_at(address);
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0) fail("accept");
        set_nodelay(fd);
        SSL *tls = SSL_new(made);
        SSL_set_fd(tls, fd);
        if (SSL_accept(tls) != 1) fail_tls("the handshake");
        if (size) serve_sending(tls, size);
        else serve_receiving(tls);
        SSL_free(tls);
        close(fd);
    }
}

static void source(SSL *tls, size_t size, double seconds) {
    unsigned char *frame = malloc(size + OVERHEAD), reply[12];
    size_t length = encode_frame(frame, WIRE_U32, size);
    uint64_t sent = 0, received = 0;
    double start = now();
    for (; now() - start < seconds; sent++) {
        if (SSL_write(tls, frame, (int)length) <= 0) fail_tls("sending");
    }
    SSL_shutdown(tls);
    if (!read_exactly(tls, reply, sizeof reply)) fail("the receiver ended without telling its count");
    double took = now() - start;
    for (size_t i = 4; i < sizeof reply; i++) received = received << 8 | reply[i];
    errno = 0;
    if (received != sent) fail("%" PRIu64 " messages sent, %" PRIu64 " received", sent, received);
    report_tls(tls, sent, took);
}

/* From the first byte on, with no warming: the processor time of the sender is set against all of it. */
static void sink(SSL *tls, size_t size, double seconds) {
    static unsigned char buffer[SINK_BUFFER];
    struct parser parser = {.wire = WIRE_U32};
    uint64_t messages = 0;
    double start = now();
    while (now() - start < seconds) {
        int got = SSL_read(tls, buffer, sizeof buffer);
        if (got <= 0) fail_tls("receiving");
        uint64_t more = parse_messages(&parser, buffer, (size_t)got);
        errno = 0;
        if (more && parser.last_size != size) fail("a message of the wrong length");
        messages += more;
    }
    report_tls(tls, messages, now() - start);
}

int main(int count, char **words) {
    const char *role = count > 1 ? words[1] : "";
    signal(SIGPIPE, SIG_IGN);
    if (count == 2 && strcmp(role, "version") == 0) {
        puts(OpenSSL_version(OPENSSL_VERSION));
    } else if (count == 6 && strcmp(role, "send") == 0) {
        serve(words[2], server_context(words[4], words[5]), (size_t)atoi(words[3]));
    } else if (count == 5 && strcmp(role, "receive") == 0) {
        serve(words[2], server_context(words[3], words[4]), 0);
    } else if (count == 6 && (strcmp(role, "source") == 0 || strcmp(role, "sink") == 0)) {
        SSL *tls = connect_with(words[2], words[5]);
        (role[1] == 'o' ? source : sink)(tls, (size_t)atoi(words[3]), atof(words[4]));
    } else {
        fail("usage: tls send ADDRESS SIZE CERT KEY | tls receive ADDRESS CERT KEY | tls source|sink ADDRESS SIZE SECONDS SUITE");
    }
    return 0;
}
