/* The container's terminal. */
#include "setup.h"

/* A new terminal in the container's own devpts; its master goes to the monitor, its slave becomes stdio.
 * The multiplexer must be the device the kernel made, whatever the image put in its place (CVE-2025-52565). */
long console(struct plan *args)
{
    struct winsize { unsigned short rows, columns, x, y; } size = { 0 };
    size.rows = (unsigned short)next_int(args);
    size.columns = (unsigned short)next_int(args);
    unsigned uid = (unsigned)next_int(args);
    int bind_console = (int)next_int(args), unlock = 0;
    struct open_how how = { .flags = O_RDWR | O_NOCTTY | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS };
    long master = SYS(openat2, setup.root >= 0 ? setup.root : AT_FDCWD, setup.root >= 0 ? "dev/pts/ptmx" : "/dev/pts/ptmx",
                      &how, sizeof how);
    if (master < 0)
        return blame(master, "open", "/dev/pts/ptmx");
    struct statx st;
    long done = SYS(statx, master, "", AT_EMPTY_PATH, STATX_TYPE, &st);
    if (done < 0 || st.stx_rdev_major != 5 || st.stx_rdev_minor != 2)
        return blame(done < 0 ? done : -ENOTTY, "terminal multiplexer", "/dev/pts/ptmx");
    if ((done = SYS(ioctl, master, TIOCSPTLCK, &unlock)) < 0)
        return blame(done, "unlock", "terminal");
    long slave = SYS(ioctl, master, TIOCGPTPEER, O_RDWR | O_NOCTTY);
    if (slave < 0)
        return blame(slave, "open", "terminal");
    if (size.rows)
        SYS(ioctl, slave, TIOCSWINSZ, &size);
    SYS(fchown, slave, uid, -1);
    if (bind_console) {
        long mount = SYS(open_tree, slave, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
        long target = mount < 0 ? mount : open_target("/dev/console", ORDINARY, 0, RESOLVE_NO_SYMLINKS);
        done = target < 0 ? target : attach((int)mount, (int)target);
        if (mount >= 0)
            SYS(close, mount);
        if (target >= 0)
            SYS(close, target);
        if (done < 0)
            return blame(done, "bind", "/dev/console");
    }
    char say = SAY_TERMINAL;
    if ((done = send_fd(setup.channel, &say, 1, (int)master)) < 0)
        return blame(done, "send", "terminal");
    SYS(close, master);
    SYS(ioctl, slave, TIOCSCTTY, 0);
    for (int fd = 0; fd < 3; fd++)
        SYS(dup3, slave, fd, 0);
    SYS(close, slave);
    return 0;
}
