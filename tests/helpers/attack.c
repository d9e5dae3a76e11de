/* What a hostile program in a container tries; a line for each attempt that got somewhere, "failed …" for the others. */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void said(const char *what, long done)
{
    if (done < 0)
        printf("failed %s: %s\n", what, strerror(errno));
    else
        printf("DONE %s\n", what);
}

static void open_for_write(const char *path)
{
    int fd = open(path, O_WRONLY);
    if (fd < 0)
        fd = open(path, O_WRONLY | O_TRUNC);
    said(path, fd < 0 ? -1 : write(fd, "x", 1));
}

/* Everything in /proc/PID of a process that is not of this program's file system, or is the runtime's. */
static int elsewhere(const char *path)
{
    struct stat ours, theirs;
    return stat("/", &ours) == 0 && stat(path, &theirs) == 0 && (ours.st_dev != theirs.st_dev || ours.st_ino != theirs.st_ino);
}

static unsigned long long capabilities(const char *path)
{
    char text[4096] = "", *at;
    int fd = open(path, O_RDONLY);
    if (fd >= 0 && read(fd, text, sizeof text - 1) > 0 && (at = strstr(text, "CapPrm:")))
        return strtoull(at + 7, NULL, 16);
    return 0;
}

/* With the right to trace: what matters is that there is nothing to be had. */
static void rich(int pid, const char *link)
{
    char path[300];
    snprintf(path, sizeof path, "/proc/%d/exe", pid);
    if (open(path, O_WRONLY) >= 0)
        printf("DONE exe of %s\n", link);
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "/proc/%d/%s", pid, i ? "cwd" : "root");
        if (elsewhere(path))
            printf("DONE %s of %s\n", path, link);
    }
    for (int fd = 3; fd < 128; fd++) {
        snprintf(path, sizeof path, "/proc/%d/fd/%d", pid, fd);
        if (open(path, O_RDONLY) >= 0)
            printf("DONE %s of %s\n", path, link);
    }
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    if (capabilities(path) & ~capabilities("/proc/self/status"))
        printf("DONE capabilities of %s\n", link);
}

static void newcomers(int seconds, int may_trace)
{
    time_t end = time(NULL) + seconds;
    static const char *names[] = { "exe", "fd", "cwd", "root", "mem", "environ", "maps", "ns/mnt" };
    char ours[256] = "", path[300], link[256];
    int self = getpid(), seen = 0;
    readlink("/proc/self/root", ours, sizeof ours - 1);
    while (time(NULL) < end) {
        DIR *proc = opendir("/proc");
        struct dirent *entry;
        while (proc && (entry = readdir(proc))) {
            int pid = atoi(entry->d_name);
            if (!isdigit(*entry->d_name) || pid == self || pid == 1)
                continue;
            seen++;
            snprintf(path, sizeof path, "/proc/%d/exe", pid);
            ssize_t n = readlink(path, link, sizeof link - 1);
            if (n <= 0)
                continue;
            link[n] = 0;
            if (!strncmp(link, "/bin/", 5) || !strncmp(link, "/usr/", 5)) /* the image's own program */
                continue;
            if (may_trace) {
                rich(pid, link);
                continue;
            }
            for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
                snprintf(path, sizeof path, "/proc/%d/%s", pid, names[i]);
                if (open(path, i ? O_RDONLY : O_WRONLY) >= 0 || (!i && open(path, O_RDONLY) >= 0))
                    printf("DONE %s of %s\n", names[i], link);
            }
        }
        if (proc)
            closedir(proc);
    }
    printf("seen %s\n", seen ? "some" : "none");
}

/* Hold what runs here and is not of the image open, and write to it once nobody runs it any more. */
static void grab(int seconds)
{
    time_t end = time(NULL) + seconds;
    static int held[256];
    int count = 0;
    while (time(NULL) < end) {
        DIR *proc = opendir("/proc");
        struct dirent *entry;
        while (proc && (entry = readdir(proc))) {
            char path[300], link[256] = "";
            int pid = atoi(entry->d_name);
            struct stat st;
            if (pid < 2 || pid == getpid() || count == 256)
                continue;
            snprintf(path, sizeof path, "/proc/%d/exe", pid);
            if (readlink(path, link, sizeof link - 1) <= 0 || !strncmp(link, "/bin/", 5))
                continue;
            int fd = open(path, O_RDONLY);
            if (fd >= 0 && fstat(fd, &st) == 0) {
                printf("held:%lu:%lu\n", (long)st.st_dev, (long)st.st_ino);
                held[count++] = fd;
            }
        }
        if (proc)
            closedir(proc);
    }
    for (int i = 0; i < count; i++) {
        char path[64];
        snprintf(path, sizeof path, "/proc/self/fd/%d", held[i]);
        open_for_write(path);
    }
    printf("over\n");
}

static void swap(const char *text)
{
    char first[256], *second;
    snprintf(first, sizeof first, "%s", text);
    second = strchr(first, ',');
    *second++ = 0;
    for (;;)
        syscall(SYS_renameat2, AT_FDCWD, first, AT_FDCWD, second, 2 /* EXCHANGE */);
}

static void namespaces(void)
{
    struct clone_args how = { .flags = CLONE_NEWUSER, .exit_signal = 17 };
    said("unshare mount", unshare(CLONE_NEWNS));
    said("unshare cgroup", unshare(CLONE_NEWCGROUP));
    long pid = syscall(SYS_clone3, &(struct clone_args){ .flags = CLONE_NEWNS, .exit_signal = 17 }, sizeof how);
    if (pid == 0)
        _exit(0);
    said("clone3 mount", pid);
}

/* A child of whoever waits for us, which ends first and better. */
static void sibling(void)
{
    long pid = syscall(SYS_clone, CLONE_PARENT | 17, 0, 0, 0, 0);
    if (pid == 0)
        _exit(0);
    sleep(1);
    _exit(pid < 0 ? 1 : 41);
}

#ifdef __x86_64__
/* getpid of i386: a filter that forgot the compatible calls would let it pass. */
static void compat(long number)
{
    long done;
    __asm__ volatile("int $0x80" : "=a"(done) : "a"(number), "b"(0), "c"(0), "d"(0), "S"(0), "D"(0) : "memory");
    if (done < 0)
        errno = -done, done = -1;
    said("int80", done);
}
#endif

int main(int argc, char **argv)
{
    (void)argc;
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (char **word = argv + 1; *word; word++) {
        if (!strncmp(*word, "write:", 6))
            open_for_write(*word + 6);
        else if (!strncmp(*word, "newcomers:", 10))
            newcomers(atoi(*word + 10), 0);
        else if (!strncmp(*word, "tracing:", 8))
            newcomers(atoi(*word + 8), 1);
        else if (!strncmp(*word, "grab:", 5))
            grab(atoi(*word + 5));
        else if (!strncmp(*word, "swap:", 5))
            swap(*word + 5);
        else if (!strcmp(*word, "sibling"))
            sibling();
        else if (!strcmp(*word, "who"))
            printf("euid=%d\n", geteuid());
        else if (!strcmp(*word, "push"))
            said("TIOCSTI", ioctl(0, TIOCSTI, "x"));
        else if (!strcmp(*word, "paste"))
            said("TIOCLINUX", ioctl(0, TIOCLINUX, "\3"));
        else if (!strcmp(*word, "tty"))
            said("controlling terminal", open("/dev/tty", O_RDWR));
        else if (!strcmp(*word, "namespaces"))
            namespaces();
        else if (!strncmp(*word, "flood:", 6))
            for (time_t end = time(NULL) + atoi(*word + 6); time(NULL) < end;)
                write(1, "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\n", 64);
#ifdef __x86_64__
        else if (!strncmp(*word, "int80:", 6))
            compat(atol(*word + 6));
#endif
    }
    return 0;
}
