/* The last step of a process that joins a container: becoming visible there.
 *
 * In the pid namespace of a container others may look into this process, if they hold CAP_SYS_PTRACE and share its user
 * namespace; that it is not dumpable is nothing to them.  So it joins with all other namespaces, gives up everything that
 * the program will not have, descriptors included, and only then forks: the child is the first of us to be born in that
 * pid namespace, and is already as poor as the program.  The child is not ours but our parent's, to whom its number
 * is told.
 *
 *     process   clone; P pid pidfd ──> monitor; ends
 *     child                            monitor: has reaped the process ── G ──> child: goes on
 */
#include "process.h"

long fork_inside(struct plan *args)
{
    int terminal = (int)next_int(args), pid_fd = -1, none;
    char say;
    long done = settle();
    if (done < 0)
        return done;
    /* Not clone3: a filter may be in force already, and the default one knows clone only. */
    long child = SYS(clone, CLONE_PARENT | CLONE_PIDFD | SIGCHLD, 0, &pid_fd, 0, 0);
    if (child < 0)
        return blame(child, "fork", "into the container");
    if (child > 0) {
        struct { char say; int32_t pid; } __attribute__((packed)) message = { SAY_ENTERED, (int32_t)child };
        send_fd(setup.channel, &message, sizeof message, pid_fd);
        leave(0);
    }
    if (receive_fd(setup.channel, &say, 1, &none) != 1 || say != SAY_GO)
        leave(125);
    SYS(setsid);
    if (terminal)
        SYS(ioctl, 0, TIOCSCTTY, 0);
    return 0;
}
