/* Processes that wait: a created container for its start, a pod's for its end. */
#include "process.h"

/* The socket `estiva-runtime start` will connect to, made while its path can still be seen. */
long listen_at(struct plan *args)
{
    const char *path = next_string(args);
    long fd = bind_unix(path, SOCK_SEQPACKET);
    if (fd < 0)
        return blame(fd, "listen", path);
    setup.listener = (int)fd;
    return 0;
}

/* A process nobody knows of would stay for ever: it ends if its maker does before it has taken note of it. */
long await_confirmation(int fd)
{
    char word;
    long n;
    do
        n = SYS(read, fd, &word, 1);
    while (n == -EINTR);
    SYS(close, fd);
    if (n == 0)
        leave(125);
    return named(n < 0 ? n : 0, "await", "confirmation");
}

static void end_by_signal(int number)
{
    leave(128 + number);
}

/* Process 1 is not ended by signals it does not handle.  EXEC puts this right again. */
static void end_by_signals(void)
{
    struct { void (*handler)(int); unsigned long flags; void *restorer; uint64_t mask; } action = {
        end_by_signal, 0x04000000 /* SA_RESTORER, which x86-64 insists on */, end_by_signal, 0
    };
    const int numbers[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM };
    for (unsigned i = 0; i < sizeof numbers / sizeof *numbers; i++)
        SYS(rt_sigaction, numbers[i], &action, NULL, sizeof action.mask);
}

/* Report ready, then wait until somebody connects; failures from here on go to that client. */
long wait_start(void)
{
    char say = SAY_READY;
    long listener = setup.listener, client;
    /* From here on it may outlive its parent, which may be gone as soon as it has heard and confirmed. */
    SYS(prctl, PR_SET_PDEATHSIG, 0, 0, 0, 0);
    end_by_signals();
    if ((client = send_fd(setup.channel, &say, 1, -1)) < 0)
        return blame(client, "report", "ready");
    if (setup.confirm >= 0 && (client = await_confirmation(setup.confirm)) < 0)
        return client;
    do
        client = SYS(accept4, listener, NULL, NULL, SOCK_CLOEXEC);
    while (client == -EINTR);
    if (client < 0)
        return blame(client, "accept", "start");
    SYS(close, listener);
    SYS(close, setup.channel);
    setup.channel = (int)client;
    return 0;
}

void pause_for_ever(void)
{
    char say = SAY_READY;
    default_signals();
    SYS(prctl, PR_SET_PDEATHSIG, 0, 0, 0, 0);
    SYS(prctl, PR_SET_NAME, "estiva-pause", 0, 0, 0);
    send_fd(setup.channel, &say, 1, -1);
    SYS(chdir, "/");
    SYS(close_range, 0, ~0u, 0);
    for (;;)
        SYS(ppoll, NULL, 0, NULL, NULL, 0);
}
