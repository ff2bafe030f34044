/* The run's way out: two listeners on its own loopback (HTTP CONNECT, SOCKS5), handed to the egress process, which accepts
   on them from outside. A socket stays in the network namespace that it was made in, so no process of the run stands in
   between, and nothing else leads from the Op to egress. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "child.h"
#include "die.h"

/* What the Op finds in HTTPS_PROXY and ALL_PROXY (src/exec/network-env.ts). */
enum { PORT_CONNECT = 3128, PORT_SOCKS = 1080, BACKLOG = 64 };

static int listener(uint16_t port) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    must(fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) || listen(fd, BACKLOG), "egress.listen");
    return fd;
}

/* Not blocking: an egress process that takes nobody must not hold a start up. */
static int dial(const char *path) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t size = strlen(path);
    if (size >= sizeof to.sun_path) die_errno("egress.connect", ENAMETOOLONG);
    memcpy(to.sun_path, path, size);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    must(fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to), "egress.connect");
    return fd;
}

void egress_hand_over(struct child *c) {
    int fds[2] = {listener(PORT_CONNECT), listener(PORT_SOCKS)};
    struct iovec iov = {c->spec->egress_token, EGRESS_TOKEN};
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof fds)];
    } control = {0};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space};
    struct cmsghdr *h = CMSG_FIRSTHDR(&msg);
    h->cmsg_level = SOL_SOCKET;
    h->cmsg_type = SCM_RIGHTS;
    h->cmsg_len = CMSG_LEN(sizeof fds);
    memcpy(CMSG_DATA(h), fds, sizeof fds);
    int first = dial(c->spec->egress_path);
    must(sendmsg(first, &msg, MSG_NOSIGNAL) != EGRESS_TOKEN, "egress.send");
    /* A bell: egress, told of a connection before its message is there, looks at the first again when this one comes. */
    close(dial(c->spec->egress_path));
    close(fds[0]);
    close(fds[1]);
    /* Stays open in the run's init and nowhere else, so that its end tells egress that the run is over. */
    must(fcntl(first, F_DUPFD_CLOEXEC, CHILD_FIRST_FREE) < 0, "egress.keep");
    close(first);
}
