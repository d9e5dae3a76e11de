/* What the kernel says about the calling process, a line for each word on the command line. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

struct attributes {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
    uint32_t low, high;
};

static void scheduler(void)
{
    struct attributes a = { 0 };
    syscall(SYS_sched_getattr, 0, &a, sizeof a, 0);
    printf("policy=%u nice=%d priority=%u flags=%llu runtime=%llu deadline=%llu period=%llu\n", a.policy, a.nice, a.priority,
           (unsigned long long)a.flags, (unsigned long long)a.runtime, (unsigned long long)a.deadline,
           (unsigned long long)a.period);
}

static void affinity(void)
{
    cpu_set_t set;
    sched_getaffinity(0, sizeof set, &set);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &set))
            printf("%d ", cpu);
    printf("\n");
}

static void memory_policy(void)
{
    int mode = -1;
    unsigned long nodes[16] = { 0 };
    long done = syscall(SYS_get_mempolicy, &mode, nodes, sizeof nodes * 8, NULL, 0);
    printf("mode=%d nodes=%lx errno=%d\n", mode, nodes[0], done ? errno : 0);
}

static void limits(void)
{
    for (int i = 0; i < 16; i++) {
        struct rlimit limit;
        getrlimit(i, &limit);
        printf("%lu:%lu ", (unsigned long)limit.rlim_cur, (unsigned long)limit.rlim_max);
    }
    printf("\n");
}

/* abstract:NAME says what connecting to that socket gives */
static void abstract(const char *name)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    strcpy(address.sun_path + 1, name);
    int done = connect(fd, (struct sockaddr *)&address, sizeof(sa_family_t) + 1 + strlen(name));
    printf("%s\n", done ? strerror(errno) : "connected");
}

/* call:NUMBER,ARG,… makes a system call and says what it gave */
static void call(const char *text)
{
    long n[7] = { 0 };
    char *at = (char *)text;
    for (int i = 0; i < 7 && *at; i++) {
        n[i] = strtol(at, &at, 0);
        if (*at == ',')
            at++;
    }
    long done = syscall(n[0], n[1], n[2], n[3], n[4], n[5], n[6]);
    printf("%ld %s\n", done, done < 0 ? strerror(errno) : "");
}

#if defined(__x86_64__)
/* int80:NUMBER makes a system call as a 32-bit program does */
static void call_32(long number)
{
    long done;
    __asm__ volatile("int $0x80" : "=a"(done) : "a"(number), "b"(0), "c"(0), "d"(0) : "memory", "r8", "r9", "r10", "r11");
    printf("%d\n", (int)done);
}
#endif

static void keyring(void)
{
    long id = syscall(SYS_keyctl, 0 /* GET_KEYRING_ID */, -3 /* session */, 0);
    char words[256] = "";
    syscall(SYS_keyctl, 6 /* DESCRIBE */, id, words, sizeof words);
    printf("%ld %s\n", id, words);
}

/* watch:FILE looks at every process it can see, again and again until FILE is there: all that any of them was permitted,
 * and in how many mount namespaces they were, for as long as they were not known to be programs of the container. */
static void watch(const char *until)
{
    unsigned long long permitted = 0, one;
    char path[300], line[300], own[64] = "", other[64];
    long looks = 0, foreign = 0, descriptors = 0;
    if (readlink("/proc/self/ns/mnt", own, sizeof own - 1) < 0)
        return;
    while (access(until, F_OK)) {
        DIR *proc = opendir("/proc");
        for (struct dirent *entry; (entry = readdir(proc));) {
            if (entry->d_name[0] < '0' || entry->d_name[0] > '9' || atoi(entry->d_name) == getpid())
                continue;
            looks++;
            snprintf(path, sizeof path, "/proc/%s/status", entry->d_name);
            FILE *status = fopen(path, "r");
            while (status && fgets(line, sizeof line, status))
                if (sscanf(line, "CapPrm: %llx", &one) == 1)
                    permitted |= one;
            if (status)
                fclose(status);
            snprintf(path, sizeof path, "/proc/%s/ns/mnt", entry->d_name);
            memset(other, 0, sizeof other);
            if (readlink(path, other, sizeof other - 1) > 0 && strcmp(own, other))
                foreign++;
            snprintf(path, sizeof path, "/proc/%s/fd", entry->d_name);
            DIR *fds = opendir(path);
            for (struct dirent *fd; fds && (fd = readdir(fds));) {
                snprintf(path, sizeof path, "/proc/%s/fd/%s", entry->d_name, fd->d_name);
                memset(line, 0, sizeof line);
                if (readlink(path, line, sizeof line - 1) > 0 && strncmp(line, "pipe:", 5) && strncmp(line, "socket:", 7) &&
                    strncmp(line, "/dev/", 5) && strncmp(line, "/proc", 5))
                    descriptors++, fprintf(stderr, "%s\n", line);
            }
            if (fds)
                closedir(fds);
        }
        closedir(proc);
    }
    printf("permitted=%llx foreign=%ld descriptors=%ld\n", permitted, foreign, descriptors);
    fprintf(stderr, "%ld looks\n", looks);
}

int main(int argc, char **argv)
{
    (void)argc;
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (char **word = argv + 1; *word; word++) {
        if (!strcmp(*word, "scheduler"))
            scheduler();
        else if (!strcmp(*word, "ioprio"))
            printf("%ld\n", syscall(SYS_ioprio_get, 1, 0));
        else if (!strcmp(*word, "affinity"))
            affinity();
        else if (!strcmp(*word, "memory"))
            memory_policy();
        else if (!strcmp(*word, "personality"))
            printf("%x\n", personality(0xffffffff));
        else if (!strcmp(*word, "limits"))
            limits();
        else if (!strcmp(*word, "keyring"))
            keyring();
        else if (!strcmp(*word, "dumpable"))
            printf("%d %d\n", prctl(PR_GET_DUMPABLE), prctl(PR_GET_PDEATHSIG, &(int){ 0 }));
        else if (!strncmp(*word, "abstract:", 9))
            abstract(*word + 9);
        else if (!strncmp(*word, "call:", 5))
            call(*word + 5);
#if defined(__x86_64__)
        else if (!strncmp(*word, "int80:", 6))
            call_32(atol(*word + 6));
#endif
        else if (!strncmp(*word, "watch:", 6))
            watch(*word + 6);
        else if (!strncmp(*word, "sleep:", 6))
            sleep(atoi(*word + 6));
    }
    return 0;
}
