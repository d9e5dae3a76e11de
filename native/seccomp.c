/* Loading the seccomp filter, and passing its notifications on.
 *
 * A filter whose actions notify has a listener: the descriptor that seccomp(2) returns in the process that is filtered,
 * and that an agent outside must get.  From that moment on any call of this process may be one that waits for the
 * agent, sendmsg(2) included.  So the descriptor is passed on by a courier: a thread made before the filter is loaded,
 * which shares the table of descriptors and is not filtered.  It hears by memory alone, and so does the process:
 *
 *     process                               courier                            monitor
 *     seccomp → listener
 *     listener stored   ······memory·····>  N listener   ───────channel──────> sends it to the agent
 *     spins                                 closes it    <──────channel─────── G
 *                       <·····memory······  passed stored; ends
 *     goes on; its next system call is the first that is filtered
 *
 * It needs no right to look into the process (pidfd_getfd does, which a process that is not dumpable denies to the
 * monitor of an ordinary user), and every action and every call may notify, the default action too.
 */
#include "process.h"

#include <linux/filter.h>
#include <linux/seccomp.h>

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif
#define NOT_YET (-4096)

static long listener = NOT_YET, passed;
static char courier_stack[8192] __attribute__((aligned(16)));

static void courier(void)
{
    char say = SAY_LISTENER;
    long fd;
    int none;
    while ((fd = __atomic_load_n(&listener, __ATOMIC_ACQUIRE)) == NOT_YET)
        SYS(sched_yield);
    if (fd >= 0) {
        /* The monitor has ended, or it ends this process: nobody will ever answer a call. */
        if (send_fd(setup.channel, &say, 1, (int)fd) < 0 || receive_fd(setup.channel, &say, 1, &none) != 1 || say != SAY_GO)
            leave(125);
        SYS(close, fd);
        __atomic_store_n(&passed, 1, __ATOMIC_RELEASE);
    }
    for (;;)
        SYS(exit, 0);
}

/* clone(2) of a thread that runs `body`, which must not return, on the stack that ends at `top`. */
static long start_thread(char *top, void (*body)(void))
{
    long flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM, ret;
#if defined(__x86_64__)
    register long r10 __asm__("r10") = 0;
    register long r8 __asm__("r8") = 0;
    register long r9 __asm__("r9") = (long)body;
    __asm__ volatile("syscall\n test %%rax, %%rax\n jnz 1f\n xor %%ebp, %%ebp\n call *%%r9\n hlt\n1:"
                     : "=a"(ret)
                     : "a"((long)__NR_clone), "D"(flags), "S"(top), "d"(0l), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return ret;
#else
    register long x8 __asm__("x8") = __NR_clone;
    register long x0 __asm__("x0") = flags;
    register long x1 __asm__("x1") = (long)top;
    register long x2 __asm__("x2") = 0;
    register long x3 __asm__("x3") = 0;
    register long x4 __asm__("x4") = 0;
    register long x5 __asm__("x5") = (long)body;
    __asm__ volatile("svc 0\n cbnz x0, 1f\n mov x29, #0\n blr x5\n brk #1\n1:"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                     : "memory", "cc");
    ret = x0;
    return ret;
#endif
}

static long load_with_listener(unsigned long flags, struct sock_fprog *filter)
{
    if (setup.channel < 0)
        return -EINVAL;
    long done = start_thread(courier_stack + sizeof courier_stack, courier);
    if (done < 0)
        return done;
    /* There is no other thread to filter but the courier, who must stay free. */
    done = SYS(seccomp, SECCOMP_SET_MODE_FILTER, flags & ~SECCOMP_FILTER_FLAG_TSYNC, filter);
    __atomic_store_n(&listener, done, __ATOMIC_RELEASE);
    while (done >= 0 && !__atomic_load_n(&passed, __ATOMIC_ACQUIRE))
        ;
    return done;
}

/* The flag that this kernel does not know, if that is why it refused; a known one finds no filter at NULL. */
static const char *unknown_flag(unsigned long flags)
{
    static const struct { unsigned long flag; const char *name; } names[] = {
        { SECCOMP_FILTER_FLAG_TSYNC, "SECCOMP_FILTER_FLAG_TSYNC" },
        { SECCOMP_FILTER_FLAG_LOG, "SECCOMP_FILTER_FLAG_LOG" },
        { SECCOMP_FILTER_FLAG_SPEC_ALLOW, "SECCOMP_FILTER_FLAG_SPEC_ALLOW" },
        { SECCOMP_FILTER_FLAG_NEW_LISTENER, "SECCOMP_FILTER_FLAG_NEW_LISTENER" },
        { SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" },
    };
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        unsigned long tried = names[i].flag;
        if (tried == SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)
            tried |= SECCOMP_FILTER_FLAG_NEW_LISTENER;
        if (flags & names[i].flag && SYS(seccomp, SECCOMP_SET_MODE_FILTER, tried, NULL) == -EINVAL)
            return names[i].name;
    }
    return NULL;
}

long load_filter(struct plan *args)
{
    unsigned long flags = (unsigned long)next_int(args);
    uint32_t size;
    const char *program = next_bytes(args, &size);
    struct sock_fprog filter = { (unsigned short)(size / sizeof(struct sock_filter)), (struct sock_filter *)program };
    long done = settle();
    if (done < 0)
        return done;
    raise_permitted();
    done = flags & SECCOMP_FILTER_FLAG_NEW_LISTENER ? load_with_listener(flags, &filter)
                                                         : SYS(seccomp, SECCOMP_SET_MODE_FILTER, flags, &filter);
    if (done == -EINVAL) {
        const char *name = unknown_flag(flags);
        if (name)
            return blame(-EOPNOTSUPP, "seccomp: this kernel does not know", name);
    }
    return named(done, "seccomp", "load the filter");
}
