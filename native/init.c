/* The small process 1 of --init. */
#include "process.h"

static int exit_code_of(int status)
{
    return status & 0x7f ? 128 + (status & 0x7f) : status >> 8 & 0xff;
}

/* What ps shows as the command line. */
static void rename_process(const char *name)
{
    char *at = (char *)program_argv[0];
    const char **last = program_argv;
    while (last[1])
        last++;
    size_t room = (size_t)(*last + strlen(*last) - at), size = strlen(name);
    memset(at, 0, room);
    memcpy(at, name, size < room ? size : room);
}

static void reap_for_ever(int child)
{
    uint64_t all = ~0ull;
    struct { int number; char rest[124]; } info;
    SYS(close_range, 3, ~0u, 0);
    for (;;) {
        long number = SYS(rt_sigtimedwait, &all, &info, NULL, sizeof all);
        if (number == SIGCHLD) {
            int status, pid;
            while ((pid = (int)SYS(wait4, -1, &status, WNOHANG | WALL, NULL)) > 0)
                if (pid == child)
                    leave(exit_code_of(status));
        } else if (number > 0 && number != SIGTTIN && number != SIGTTOU && number != SIGTSTP) {
            SYS(kill, child, number);
        }
    }
}

/* Fork; the child goes on, the parent reaps until the child ends and ends with its code. */
static long leave_init_behind(void)
{
    uint64_t all = ~0ull;
    SYS(rt_sigprocmask, SIG_SETMASK, &all, NULL, sizeof all);
    /* Not clone3: the filter may be in force already, and the default one knows clone only. */
    long child = SYS(clone, SIGCHLD, 0, 0, 0, 0);
    if (child < 0)
        return blame(child, "fork", "init");
    if (child > 0)
        reap_for_ever((int)child);
    /* A process group of its own in the foreground, so that the terminal's signals do not reach process 1 too. */
    SYS(setpgid, 0, 0);
    int group = (int)SYS(getpid);
    SYS(ioctl, 0, TIOCSPGRP, &group);
    all = 0;
    SYS(rt_sigprocmask, SIG_SETMASK, &all, NULL, sizeof all);
    return 0;
}

/* --init needs no program of its own: it is this file, a sealed copy in memory, already without privileges and not
 * dumpable. */
long become_init(void)
{
    SYS(prctl, PR_SET_NAME, "init", 0, 0, 0); /* before the child can see it; EXEC renames that */
    rename_process("init");
    return leave_init_behind();
}

/* This file itself as process 1, in a container that another runtime made: init -- PROGRAM [ARGUMENT…] */
void init_main(const char **argv)
{
    const char **environment = argv;
    while (*environment++)
        ;
    if (leave_init_behind() >= 0)
        run_program(argv + 2, environment);
    leave(failure.error == ENOENT ? 127 : 126);
}
