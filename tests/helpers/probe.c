/* What the kernel says about the calling process, a line for each word on the command line. */
#define _GNU_SOURCE
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

static void keyring(void)
{
    long id = syscall(SYS_keyctl, 0 /* GET_KEYRING_ID */, -3 /* session */, 0);
    char words[256] = "";
    syscall(SYS_keyctl, 6 /* DESCRIBE */, id, words, sizeof words);
    printf("%ld %s\n", id, words);
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
        else if (!strncmp(*word, "sleep:", 6))
            sleep(atoi(*word + 6));
    }
    return 0;
}
