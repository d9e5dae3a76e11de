/* The operations that make a container's namespaces and root file system, carried out by its first process: which function
 * does which. */
#include "setup.h"

long perform(struct operation_record *operation)
{
    struct plan *args = &operation->args;
    const char *text;
    int64_t number;
    setup.operation = operation->code;
    switch (operation->code) {
    case OP_JOIN:
        return join(args);
    case OP_JOIN_FD:
        number = next_int(args);
        return named(SYS(setns, number, next_int(args)), "setns", "the container's namespaces");
    case OP_UNSHARE:
        return named(SYS(unshare, next_int(args)), "unshare", "");
    case OP_HOSTNAME:
        text = next_string(args);
        return named(SYS(sethostname, text, strlen(text)), "sethostname", text);
    case OP_DOMAINNAME:
        text = next_string(args);
        return named(SYS(setdomainname, text, strlen(text)), "setdomainname", text);
    case OP_LOOPBACK:
        return loopback();
    case OP_SYSCTL:
        return sysctl(args);
    case OP_TIME_OFFSETS:
        text = next_string(args);
        return named(write_file("/proc/self/timens_offsets", text, strlen(text)), "write", "timens_offsets");
    case OP_PROPAGATION:
        text = next_string(args);
        return named(SYS(mount, "", text, "", next_int(args), NULL), "mount propagation", text);
    case OP_ROOT_OVERLAY:
        return root_is(make_overlay(args, -1));
    case OP_ROOT_BIND:
        return root_bind(args);
    case OP_ROOT_GIVEN:
        return root_given(args);
    case OP_ROOT_OPEN:
        return root_open(args);
    case OP_PARENT_PRIVATE:
        return parent_private(args);
    case OP_MAP_ROOT:
        return map_root(args);
    case OP_PREPARE:
        return prepare_source(args);
    case OP_ROOT_ATTACH:
        return root_attach(args);
    case OP_MOUNT:
        return mount_new(args);
    case OP_REMOUNT:
        return remount(args);
    case OP_BIND:
        return bind(args);
    case OP_SYMLINK:
        return symlink(args);
    case OP_DEVICE:
        return device(args);
    case OP_ENTRY:
        return add_entry(args);
    case OP_MKDIR:
        return make_dir(args);
    case OP_CONSOLE:
        return console(args);
    case OP_MASK:
        return mask(args);
    case OP_READONLY:
        return read_only(args);
    case OP_SYNC:
        return sync_with(args);
    case OP_HOOK:
        return hook(args);
    case OP_PIVOT:
        return pivot(args);
    case OP_ROOT_READONLY:
        return root_read_only();
    default:
        return perform_process(operation);
    }
}
