/* The seccomp agent: whoever answers the notifications of the container's filter gets its listener from the monitor.
 * runtime-spec config-linux.md "The Container Process State" */
#include "monitor.h"

/* The descriptor goes with the first bytes, as the specification wants; one connection carries one state. */
static long send_state(int agent, int fd, const char *data, size_t n)
{
    while (n) {
        struct cmsghdr control = { sizeof(size_t) + 3 * sizeof(int), SOL_SOCKET, SCM_RIGHTS, fd, 0 };
        struct iovec iov = { (void *)data, n };
        struct msghdr message = { .iov = &iov, .iovlen = 1 };
        if (fd >= 0)
            message.control = &control, message.controllen = sizeof control;
        long done = SYS(sendmsg, agent, &message, MSG_NOSIGNAL);
        if (done == -EINTR)
            continue;
        if (done <= 0)
            return done == -EAGAIN ? -ETIMEDOUT : done;
        fd = -1;
        data += done;
        n -= (size_t)done;
    }
    return 0;
}

long tell_agent(int listener, int pid)
{
    struct plan parts = config.agent_state;
    int64_t count = next_int(&parts);
    long agent = connect_unix(config.agent_path, SOCK_STREAM), done = agent;
    for (int64_t i = 0; done >= 0 && i < count; i++) {
        uint32_t size;
        const char *part = next_bytes(&parts, &size);
        TEXT(number, 16);
        put_number(&number, pid);
        if (i)
            done = send_state((int)agent, -1, number.at, number.used);
        if (done >= 0)
            done = send_state((int)agent, i ? -1 : listener, part, size);
    }
    if (agent >= 0)
        SYS(close, agent);
    return done < 0 ? blame(done, "send the listener to the seccomp agent at", config.agent_path) : 0;
}
