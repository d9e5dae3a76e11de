/* The kernel without a C library: system calls, the few constants user-space headers usually give, strings.
 *
 * Every call returns the kernel's value: zero or more on success, -errno on failure.  There is no errno variable, no
 * allocator and no stdio, so that the whole process is a few pages and nothing runs that is not written here.
 */
#ifndef ESTIVA_SYS_H
#define ESTIVA_SYS_H

#include <asm/ioctls.h>
#include <asm/signal.h>
#include <asm/stat.h>
#include <asm/termbits.h>
#include <asm/unistd.h>
#include <linux/errno.h>
#include <linux/eventpoll.h>
#include <linux/fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/stat.h>
#include <linux/time.h>
#include <stddef.h>
#include <stdint.h>

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif
#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC 4
#endif
#define AF_INET 2
#define AF_UNIX 1
#define AF_NETLINK 16
#define SOCK_STREAM 1
#define SOCK_DGRAM 2
#define SOCK_SEQPACKET 5
#define SOCK_CLOEXEC 02000000
#define SOCK_NONBLOCK 04000
#define SOL_SOCKET 1
#define SCM_RIGHTS 1
#define MSG_DONTWAIT 0x40
#define MSG_NOSIGNAL 0x4000
#define MSG_CMSG_CLOEXEC 0x40000000
#define MNT_DETACH 2
#define WNOHANG 1
#define WALL 0x40000000
#define CLOCK_REALTIME 0
#define CLOCK_MONOTONIC 1
#define PATH_MAX 4096

struct iovec { void *base; size_t len; };
struct msghdr { void *name; int namelen; struct iovec *iov; size_t iovlen; void *control; size_t controllen; int flags; };
struct cmsghdr { size_t len; int level; int type; int fd; int pad; };
struct sockaddr_un { unsigned short family; char path[108]; };
struct dirent64 { uint64_t ino; int64_t off; unsigned short reclen; unsigned char type; char name[]; };

#if defined(__x86_64__)
static inline long sys6(long n, long a, long b, long c, long d, long e, long f)
{
    long ret;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall" : "=a"(ret) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return ret;
}
#elif defined(__aarch64__)
static inline long sys6(long n, long a, long b, long c, long d, long e, long f)
{
    register long x8 __asm__("x8") = n;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory", "cc");
    return x0;
}
#else
#error "no system call convention for this architecture"
#endif

#define SYS_PICK(_0, _1, _2, _3, _4, _5, _6, NAME, ...) NAME
#define SYS_0(n) sys6(n, 0, 0, 0, 0, 0, 0)
#define SYS_1(n, a) sys6(n, (long)(a), 0, 0, 0, 0, 0)
#define SYS_2(n, a, b) sys6(n, (long)(a), (long)(b), 0, 0, 0, 0)
#define SYS_3(n, a, b, c) sys6(n, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define SYS_4(n, a, b, c, d) sys6(n, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define SYS_5(n, a, b, c, d, e) sys6(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)
#define SYS_6(n, a, b, c, d, e, f) sys6(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
/* SYS(openat, fd, path, flags, mode): the system call of that name. */
#define SYS(...) SYS_APPLY(SYS_PICK(__VA_ARGS__, SYS_6, SYS_5, SYS_4, SYS_3, SYS_2, SYS_1, SYS_0), SYS_NR(__VA_ARGS__))
#define SYS_APPLY(macro, ...) macro(__VA_ARGS__)
#define SYS_NR(name, ...) __NR_##name __VA_OPT__(, ) __VA_ARGS__

/* string.c */
void *memcpy(void *to, const void *from, size_t n);
void *memmove(void *to, const void *from, size_t n);
void *memset(void *to, int value, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);
int equal(const char *a, const char *b);
int starts_with(const char *s, const char *prefix);
const char *find_char(const char *s, char c);

/* A bounded text under construction; what does not fit is cut, and the text stays terminated. */
struct text { char *at; size_t used, size; };
#define TEXT(name, bytes) char name##_buffer[bytes]; struct text name = { name##_buffer, 0, bytes }; name##_buffer[0] = 0
void put(struct text *t, const char *s);
void put_bytes(struct text *t, const char *s, size_t n);
void put_number(struct text *t, int64_t n);
void put_padded(struct text *t, uint64_t n, int width);

/* file.c */
int write_all(int fd, const void *data, size_t n);
int write_file(const char *path, const char *data, size_t n);
int replace_file(const char *path, const char *data, size_t n, int durable);
long read_file(const char *path, char *buffer, size_t size);
int remove_tree(const char *path);
int copy_tree(int from_dir, int to_dir, int with_top);
int is_empty_dir(int dir);
int chown_tree(int dir, unsigned uid, unsigned gid);
int send_fd(int socket, const void *data, size_t n, int fd);
long receive_fd(int socket, void *data, size_t n, int *fd);
int connect_unix(const char *path, int type);
int bind_unix(const char *path, int type);
int64_t now_ns(int clock);

#endif
