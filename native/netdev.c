/* Network devices of the machine moved into the container's network namespace, by rtnetlink.
 *
 * The kernel keeps what belongs to the device (MTU, hardware address, queues) and forgets its addresses: those that are
 * permanent and of global scope are given to it again, and it is brought up.  Until the program runs all of it can be undone.
 * runtime-spec config-linux.md "Network Devices", rtnetlink(7) */
#include "monitor.h"

#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#define DEVICES 16
#define ADDRESSES 32
#define IS_UP 1 /* IFF_UP */

struct address { struct ifaddrmsg head; unsigned char content[160]; unsigned size; };
struct device {
    const char *name, *new_name;
    int index, new_index, was_up;
    struct address addresses[ADDRESSES];
    int count;
};

static struct device devices[DEVICES];
static int count;
static int here = -1, there = -1;             /* sockets in our network namespace and in the container's */
static int our_space = -1, their_space = -1;  /* the namespaces */

struct request { struct nlmsghdr head; char content[512]; };
static char answer[32768] __attribute__((aligned(4)));

static void *begin(struct request *request, int type, int flags, size_t size)
{
    memset(request, 0, sizeof *request);
    request->head.nlmsg_type = (unsigned short)type;
    request->head.nlmsg_flags = (unsigned short)(NLM_F_REQUEST | flags);
    request->head.nlmsg_len = (unsigned)(NLMSG_HDRLEN + NLMSG_ALIGN(size));
    return request->content;
}

static void append(struct request *request, int type, const void *content, size_t size)
{
    struct rtattr *attribute = (struct rtattr *)((char *)request + request->head.nlmsg_len);
    if (request->head.nlmsg_len + RTA_SPACE(size) > sizeof *request)
        return;
    attribute->rta_type = (unsigned short)type;
    attribute->rta_len = (unsigned short)RTA_LENGTH(size);
    memcpy(RTA_DATA(attribute), content, size);
    request->head.nlmsg_len += (unsigned)RTA_SPACE(size);
}

/* Send, and take each message of the answer; 0, or what the kernel says. */
static long talk(int socket, struct request *request, void (*take)(struct nlmsghdr *, void *), void *about)
{
    int dump = request->head.nlmsg_flags & NLM_F_DUMP;
    if (!take)
        request->head.nlmsg_flags |= NLM_F_ACK;
    long n = SYS(sendto, socket, request, request->head.nlmsg_len, 0, NULL, 0);
    while (n >= 0) {
        n = SYS(recvfrom, socket, answer, sizeof answer, 0, NULL, NULL);
        long left = n;
        for (struct nlmsghdr *message = (struct nlmsghdr *)answer; NLMSG_OK(message, left);
             message = NLMSG_NEXT(message, left)) {
            if (message->nlmsg_type == NLMSG_ERROR)
                return ((struct nlmsgerr *)NLMSG_DATA(message))->error;
            if (message->nlmsg_type == NLMSG_DONE)
                return 0;
            if (take)
                take(message, about);
        }
        if (take && !dump && n >= 0)
            return 0;
    }
    return n;
}

static void take_link(struct nlmsghdr *message, void *about)
{
    struct device *device = about;
    struct ifinfomsg *link = NLMSG_DATA(message);
    device->index = link->ifi_index;
    device->was_up = !!(link->ifi_flags & IS_UP);
}

static long find_link(struct device *device)
{
    struct request request;
    begin(&request, RTM_GETLINK, 0, sizeof(struct ifinfomsg));
    append(&request, IFLA_IFNAME, device->name, strlen(device->name) + 1);
    return talk(here, &request, take_link, device);
}

static void take_address(struct nlmsghdr *message, void *about)
{
    struct device *device = about;
    struct ifaddrmsg *head = NLMSG_DATA(message);
    long left = (long)message->nlmsg_len - (long)NLMSG_LENGTH(sizeof *head);
    uint32_t flags = head->ifa_flags;
    if (device->count == ADDRESSES || (int)head->ifa_index != device->index || head->ifa_scope != RT_SCOPE_UNIVERSE)
        return;
    struct address *address = &device->addresses[device->count];
    address->head = *head;
    address->size = 0;
    for (struct rtattr *at = (struct rtattr *)(head + 1); RTA_OK(at, left); at = RTA_NEXT(at, left)) {
        if (at->rta_type == IFA_FLAGS)
            memcpy(&flags, RTA_DATA(at), sizeof flags);
        int kept = at->rta_type == IFA_ADDRESS || at->rta_type == IFA_LOCAL || at->rta_type == IFA_BROADCAST ||
                   at->rta_type == IFA_FLAGS || at->rta_type == IFA_RT_PRIORITY;
        if (kept && address->size + RTA_ALIGN(at->rta_len) <= sizeof address->content) {
            memcpy(address->content + address->size, at, at->rta_len);
            address->size += RTA_ALIGN(at->rta_len);
        }
    }
    if (flags & IFA_F_PERMANENT)
        device->count++;
}

static long find_addresses(struct device *device)
{
    struct request request;
    begin(&request, RTM_GETADDR, NLM_F_DUMP, sizeof(struct ifaddrmsg));
    return talk(here, &request, take_address, device);
}

/* The indices of all links, to tell which one is new. */
struct indices { int known[256], count; int fresh; };

static void take_known(struct nlmsghdr *message, void *about)
{
    struct indices *indices = about;
    if (indices->count < 256)
        indices->known[indices->count++] = ((struct ifinfomsg *)NLMSG_DATA(message))->ifi_index;
}

static void take_fresh(struct nlmsghdr *message, void *about)
{
    struct indices *indices = about;
    int index = ((struct ifinfomsg *)NLMSG_DATA(message))->ifi_index;
    for (int i = 0; i < indices->count; i++)
        if (indices->known[i] == index)
            return;
    indices->fresh = index;
}

static long list_links(int socket, struct indices *indices, void (*take)(struct nlmsghdr *, void *))
{
    struct request request;
    begin(&request, RTM_GETLINK, NLM_F_DUMP, sizeof(struct ifinfomsg));
    return talk(socket, &request, take, indices);
}

/* One link from the namespace of one socket to that of the other, under a new name.  *moved is its index there, or 0: also
 * after a failure, for the kernel moves first and renames then. */
static long move_link(int from, int to, int index, int space, const char *name, int *moved)
{
    static struct indices indices;
    struct request request;
    struct ifinfomsg *link = begin(&request, RTM_NEWLINK, 0, sizeof *link);
    link->ifi_index = index;
    append(&request, IFLA_NET_NS_FD, &space, sizeof space);
    append(&request, IFLA_IFNAME, name, strlen(name) + 1);
    memset(&indices, 0, sizeof indices);
    long done = list_links(to, &indices, take_known);
    if (done >= 0)
        done = talk(from, &request, NULL, NULL);
    long listed = list_links(to, &indices, take_fresh);
    *moved = indices.fresh;
    return done < 0 ? done : listed < 0 ? listed : indices.fresh ? 0 : -ENODEV;
}

static long add_addresses(int socket, int index, struct device *device)
{
    long done = 0;
    for (int i = 0; done >= 0 && i < device->count; i++) {
        struct request request;
        struct address *address = &device->addresses[i];
        struct ifaddrmsg *head = begin(&request, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, sizeof *head);
        *head = address->head;
        head->ifa_index = (unsigned)index;
        memcpy((char *)&request + request.head.nlmsg_len, address->content, address->size);
        request.head.nlmsg_len += address->size;
        done = talk(socket, &request, NULL, NULL);
        if (done == -EEXIST)
            done = 0;
    }
    return done;
}

static long bring_up(int socket, int index)
{
    struct request request;
    struct ifinfomsg *link = begin(&request, RTM_NEWLINK, 0, sizeof *link);
    link->ifi_index = index;
    link->ifi_flags = link->ifi_change = IS_UP;
    return talk(socket, &request, NULL, NULL);
}

static long open_both(int pid)
{
    TEXT(path, 64);
    put(&path, "/proc/");
    put_number(&path, pid);
    put(&path, "/ns/net");
    const int how = SOCK_DGRAM | SOCK_CLOEXEC;
    long done = our_space = (int)SYS(openat, AT_FDCWD, "/proc/self/ns/net", O_RDONLY | O_CLOEXEC, 0);
    if (done >= 0)
        done = their_space = (int)SYS(openat, AT_FDCWD, path.at, O_RDONLY | O_CLOEXEC, 0);
    if (done >= 0)
        done = here = (int)SYS(socket, AF_NETLINK, how, NETLINK_ROUTE);
    if (done >= 0)
        done = SYS(setns, their_space, CLONE_NEWNET);
    if (done < 0)
        return done;
    done = there = (int)SYS(socket, AF_NETLINK, how, NETLINK_ROUTE);
    long back = SYS(setns, our_space, CLONE_NEWNET);
    return done < 0 ? done : back;
}

static long move_device(struct device *device)
{
    long done = find_link(device);
    if (done >= 0)
        done = find_addresses(device);
    if (done >= 0)
        done = move_link(here, there, device->index, their_space, device->new_name, &device->new_index);
    if (done < 0)
        return done;
    done = add_addresses(there, device->new_index, device);
    return done < 0 ? done : bring_up(there, device->new_index);
}

long move_devices(int pid)
{
    long done = open_both(pid);
    if (done < 0)
        return blame(done, "open", "the container's network namespace");
    for (count = 0; count < config.device_count && count < DEVICES;) {
        struct plan args = config.devices[count];
        struct device *device = &devices[count++];
        memset(device, 0, sizeof *device);
        device->name = next_string(&args);
        device->new_name = next_string(&args);
        if ((done = move_device(device)) < 0)
            return blame(done, "move network device", device->name);
    }
    return 0;
}

void keep_devices(void)
{
    int *ours[] = { &here, &there, &our_space, &their_space };
    for (unsigned i = 0; i < sizeof ours / sizeof *ours; i++) {
        if (*ours[i] >= 0)
            SYS(close, *ours[i]);
        *ours[i] = -1;
    }
    count = 0;
}

void return_devices(void)
{
    while (count) {
        struct device *device = &devices[--count];
        int index;
        if (!device->new_index || (move_link(there, here, device->new_index, our_space, device->name, &index), !index))
            continue; /* virtual devices end with the namespace, others go home by themselves */
        add_addresses(here, index, device);
        if (device->was_up)
            bring_up(here, index);
    }
    keep_devices();
}
