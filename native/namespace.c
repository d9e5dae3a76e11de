/* Namespaces joined and furnished. */
#include "setup.h"

long join(struct plan *args)
{
    const char *path = next_string(args);
    int type = (int)next_int(args);
    long fd = SYS(openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return blame(fd, "open", path);
    long done = SYS(setns, fd, type);
    SYS(close, fd);
    return done < 0 ? blame(done, "setns", path) : 0;
}

long loopback(void)
{
    struct { char name[16]; short flags; char rest[22]; } request = { .name = "lo" };
    long fd = SYS(socket, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), done = fd;
    if (fd >= 0) {
        done = SYS(ioctl, fd, 0x8913 /* SIOCGIFFLAGS */, &request);
        request.flags |= 1 /* IFF_UP */;
        if (done >= 0)
            done = SYS(ioctl, fd, 0x8914 /* SIOCSIFFLAGS */, &request);
        SYS(close, fd);
    }
    return done < 0 ? blame(done, "bring up", "lo") : 0;
}

long sysctl(struct plan *args)
{
    const char *key = next_string(args), *value = next_string(args);
    TEXT(path, 512);
    put(&path, "/proc/sys/");
    put(&path, key);
    long done = write_file(path.at, value, strlen(value));
    return done < 0 ? blame(done, "sysctl", key) : 0;
}
