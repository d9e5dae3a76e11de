/* Entry: read the plan and carry it out; see plan.h for the language, monitor.c, setup.c and process.c for the verbs. */
#include "monitor.h"

struct failure failure;
struct setup setup = { .report = REPORT_FD, .channel = -1, .root = -1, .listener = -1, .confirm = -1 };
const char **program_argv;

/* The memory the plan is read into: what the kernel takes as arguments and environment, and much more than the rest. */
static char plan_memory[8 << 20];

#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n xor %ebp,%ebp\n mov %rsp,%rdi\n and $-16,%rsp\n call start\n hlt\n");
#else
__asm__(".globl _start\n_start:\n mov x29,#0\n mov x30,#0\n mov x0,sp\n and sp,x0,#-16\n bl start\n");
#endif

void leave(int code)
{
    for (;;)
        SYS(exit_group, code);
}

/* Note the first thing that went wrong and hand the error on. */
long blame(long error, const char *call, const char *object)
{
    struct text text = { failure.text, 0, sizeof failure.text };
    failure.error = (int32_t)-error;
    put(&text, call);
    if (object && *object) {
        put(&text, " ");
        put(&text, object);
    }
    return error;
}

int64_t next_int(struct plan *args)
{
    int64_t value = 0;
    if (args->end - args->at >= (long)sizeof value) {
        memcpy(&value, args->at, sizeof value);
        args->at += sizeof value;
    }
    return value;
}

const char *next_bytes(struct plan *args, uint32_t *size)
{
    const char *bytes;
    if (args->end - args->at < (long)sizeof *size)
        goto cut;
    memcpy(size, args->at, sizeof *size);
    bytes = args->at + sizeof *size;
    if ((long)*size >= args->end - bytes)
        goto cut;
    args->at = bytes + *size + 1;
    return bytes;
cut:
    *size = 0;
    args->at = args->end;
    return "";
}

const char *next_string(struct plan *args)
{
    uint32_t size;
    return next_bytes(args, &size);
}

int next_list(struct plan *args, const char **items, int room)
{
    int64_t count = next_int(args);
    int kept = 0;
    for (int64_t i = 0; i < count && args->at < args->end; i++) {
        const char *item = next_string(args);
        if (kept < room - 1)
            items[kept++] = item;
    }
    items[kept] = NULL;
    return kept;
}

int next_operation(struct plan *plan, struct operation_record *operation)
{
    uint32_t head[2];
    if (plan->end - plan->at < (long)sizeof head)
        return 0;
    memcpy(head, plan->at, sizeof head);
    plan->at += sizeof head;
    if ((long)head[1] > plan->end - plan->at)
        return 0;
    operation->code = head[0];
    operation->index++;
    operation->args.at = plan->at;
    operation->args.end = plan->at += head[1];
    return 1;
}

static long read_plan(void)
{
    long size = 0, n;
    while ((n = SYS(read, PLAN_FD, plan_memory + size, sizeof plan_memory - (size_t)size)) > 0)
        size += n;
    SYS(close, PLAN_FD);
    if (n < 0)
        return n;
    if (size == sizeof plan_memory)
        return -E2BIG;
    if (size < 8 || memcmp(plan_memory, PLAN_MAGIC, 8))
        return -EINVAL;
    return size;
}

int has(struct plan plan, uint32_t code)
{
    struct operation_record operation = { 0 };
    while (next_operation(&plan, &operation))
        if (operation.code == code)
            return 1;
    return 0;
}

__attribute__((used, noreturn)) void start(long *stack)
{
    program_argv = (const char **)(stack + 1);
    if (stack[0] > 2 && equal(program_argv[1], "--"))
        init_main(program_argv);
    long size = read_plan();
    if (size < 0) {
        blame(size, "read", "the plan");
        report(REPORT_FD);
        leave(125);
    }
    struct plan plan = { plan_memory + 8, plan_memory + size };
    if (has(plan, OP_CLONE) && !has(plan, OP_CHILD))
        detach();
    struct operation_record operation = { 0 };
    while (next_operation(&plan, &operation)) {
        if (operation.code == OP_CLONE)
            monitor_main(plan, operation.args);
        if (operation.code == OP_HOLD)
            hold(&operation.args);
        if (configure(&operation))
            continue;
        if ((operation.code == OP_LAYER ? hold_layer(&operation.args) : perform(&operation)) < 0) {
            failure.operation = (int32_t)operation.code;
            failure.index = operation.index;
            release_layers();
            report(setup.report);
            leave(125);
        }
    }
    leave(0);
}
