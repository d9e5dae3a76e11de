/* The installed commands `estiva` and `estiva-runtime`: start Python on the package that was installed beside them.
 *
 * Why a program and not a script.  The interpreter should be started as `python3 -I -S`: without the `site` module it is
 * up in half the time, and nobody's .pth files, PYTHON* variables or current directory can put code into it.  Installers
 * write `#!/that/python` over a script's first line and drop every argument, so the arguments are given here.
 *
 * What it does, each step only if the one before found nothing:
 *   1. PREFIX/lib/python3.N/{site,dist}-packages/estiva (also lib64), where PREFIX/bin is the directory of this very
 *      file, the newest N first that has an interpreter          -> pythonX -I -S .../estiva/__main__.py ARGUMENTS
 *   2. PREFIX/lib/python3/dist-packages (Debian's packages) and PREFIX/estiva (pip --target)    -> the same, any python3
 *   3. no package beside it (an editable install)                -> python3 -I -m estiva ARGUMENTS
 * The interpreter is PREFIX/bin/python3.N, else Debian's own for a dist-packages directory, else the one on PATH.
 *
 * Freestanding: no C library, so that it starts in a fraction of a millisecond and runs on every Linux of its machine
 * type.  Which command it is, it knows from the name of its file.
 */

#include <stddef.h>

#define PATH_BYTES 4096
#define NEWEST_MINOR 30
#define OLDEST_MINOR 11

enum { F_OK = 0, X_OK = 1, AT_FDCWD = -100, AT_EXECFN = 31, EXIT_ENGINE = 125 };

#if defined(__x86_64__)
enum { SYS_write = 1, SYS_execve = 59, SYS_readlinkat = 267, SYS_faccessat = 269, SYS_exit_group = 231 };

static long syscall4(long number, long a, long b, long c, long d)
{
    long result;
    register long r10 __asm__("r10") = d;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10)
                     : "rcx", "r11", "memory");
    return result;
}

__asm__(".globl _start\n"
        "_start:\n"
        "    xor %ebp, %ebp\n"
        "    mov %rsp, %rdi\n"
        "    and $-16, %rsp\n"
        "    call launch\n");

#elif defined(__aarch64__)
enum { SYS_write = 64, SYS_execve = 221, SYS_readlinkat = 78, SYS_faccessat = 48, SYS_exit_group = 94 };

static long syscall4(long number, long a, long b, long c, long d)
{
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
    return x0;
}

__asm__(".globl _start\n"
        "_start:\n"
        "    mov x29, #0\n"
        "    mov x30, #0\n"
        "    mov x0, sp\n"
        "    and sp, x0, #-16\n"
        "    bl launch\n");

#else
#error "the launcher knows x86-64 and arm64 only"
#endif

/* A path being put together; `length` is past PATH_BYTES when it did not fit, and then names nothing. */
struct path {
    size_t length;
    char text[PATH_BYTES];
};

static size_t length_of(const char *text)
{
    size_t length = 0;
    while (text[length])
        length++;
    return length;
}

static int equal(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

static void append_bytes(struct path *path, const char *text, size_t length)
{
    if (path->length + length >= PATH_BYTES) {
        path->length = PATH_BYTES;
        path->text[0] = 0;
        return;
    }
    for (size_t i = 0; i < length; i++)
        path->text[path->length + i] = text[i];
    path->length += length;
    path->text[path->length] = 0;
}

static void append(struct path *path, const char *text)
{
    append_bytes(path, text, length_of(text));
}

static void append_minor(struct path *path, int minor)
{
    char digits[2] = {(char)('0' + minor / 10), (char)('0' + minor % 10)};
    append_bytes(path, digits, 2);
}

static void start_path(struct path *path, const char *text)
{
    path->length = 0;
    path->text[0] = 0;
    append(path, text);
}

static int accessible(const struct path *path, int mode)
{
    return path->text[0] && syscall4(SYS_faccessat, AT_FDCWD, (long)path->text, mode, 0) == 0;
}

/* Cut the last component: "/opt/x/bin/estiva" -> "/opt/x/bin", "bin" -> ".", "." -> "..". */
static void parent(struct path *path)
{
    size_t end = path->length;
    if (equal(path->text, ".")) {
        start_path(path, "..");
        return;
    }
    while (end > 0 && path->text[end - 1] != '/')
        end--;
    if (end == 0) {
        start_path(path, ".");
        return;
    }
    path->length = end > 1 ? end - 1 : 1;
    path->text[path->length] = 0;
}

static const char *base_name(const char *text)
{
    const char *base = text;
    for (; *text; text++)
        if (*text == '/')
            base = text + 1;
    return base;
}


/* The name of the interpreter of one minor version, or of any when `minor` is 0. */
static void append_python(struct path *path, int minor)
{
    append(path, "/python3");
    if (minor) {
        append(path, ".");
        append_minor(path, minor);
    }
}

static int python_in(struct path *python, const char *directory, size_t length, int minor)
{
    python->length = 0;
    append_bytes(python, directory, length);
    append_python(python, minor);
    return accessible(python, X_OK);
}

static int python_on(struct path *python, const char *search, int minor)
{
    while (search && *search) {
        size_t length = 0;
        while (search[length] && search[length] != ':')
            length++;
        if (length && python_in(python, search, length, minor))
            return 1;
        search += length + (search[length] == ':');
    }
    return 0;
}

static int find_python(struct path *python, const struct path *bin, const char *search, int minor, int of_debian)
{
    return python_in(python, bin->text, bin->length, minor) ||
           (of_debian && python_on(python, "/usr/bin", minor)) ||
           python_on(python, search, minor) ||
           python_on(python, "/usr/local/bin:/usr/bin:/bin", minor);
}


struct command {
    const char *main_file; /* below the directory the package lies in */
    const char *module;
    const char *search;    /* PATH */
    struct path script, python;
};

/* Whether PREFIX/lib/python3.N is there at all: one question instead of two for the versions that are not. */
static int library_of(struct command *command, const struct path *prefix, const char *lib, int minor)
{
    start_path(&command->script, prefix->text);
    append(&command->script, lib);
    append_minor(&command->script, minor);
    return accessible(&command->script, F_OK);
}

static int main_file_in(struct command *command, const struct path *prefix, const char *lib, int minor, const char *kind)
{
    start_path(&command->script, prefix->text);
    append(&command->script, lib);
    if (minor)
        append_minor(&command->script, minor);
    append(&command->script, kind);
    append(&command->script, command->main_file);
    return accessible(&command->script, F_OK);
}

static int found(struct command *command, const struct path *bin, const struct path *prefix, const char *lib, int minor,
                 const char *kind)
{
    int of_debian = kind[0] == '/' && kind[1] == 'd';
    return main_file_in(command, prefix, lib, minor, kind) &&
           find_python(&command->python, bin, command->search, minor, of_debian);
}

static int find_package(struct command *command, const struct path *bin)
{
    static const char *const libs[] = {"/lib/python3.", "/lib64/python3."};
    struct path prefix = *bin;
    parent(&prefix);
    for (size_t i = 0; i < sizeof libs / sizeof *libs; i++)
        for (int minor = NEWEST_MINOR; minor >= OLDEST_MINOR; minor--)
            if (library_of(command, &prefix, libs[i], minor) &&
                (found(command, bin, &prefix, libs[i], minor, "/site-packages/") ||
                 found(command, bin, &prefix, libs[i], minor, "/dist-packages/")))
                return 1;
    return found(command, bin, &prefix, "/lib/python3", 0, "/dist-packages/") ||
           found(command, bin, &prefix, "", 0, "/");
}


static void fail(const char *text)
{
    syscall4(SYS_write, 2, (long)text, (long)length_of(text), 0);
    syscall4(SYS_exit_group, EXIT_ENGINE, 0, 0, 0);
    __builtin_unreachable();
}

/* Replace this program by: python OPTIONS[0..count) ARGUMENTS */
static void run(const struct path *python, const char *const *options, int count, int argc, char **argv, char **envp)
{
    const char *arguments[argc + count + 2];
    int at = 0;
    arguments[at++] = python->text;
    for (int i = 0; i < count; i++)
        arguments[at++] = options[i];
    for (int i = 1; i < argc; i++)
        arguments[at++] = argv[i];
    arguments[at] = NULL;
    syscall4(SYS_execve, (long)python->text, (long)arguments, (long)envp, 0);
    fail("Error: starting estiva: its Python interpreter cannot be executed\n");
}

static const char *variable(char **envp, const char *name)
{
    size_t length = length_of(name);
    for (; *envp; envp++) {
        size_t i = 0;
        while (i < length && (*envp)[i] == name[i])
            i++;
        if (i == length && (*envp)[i] == '=')
            return *envp + length + 1;
    }
    return NULL;
}

static const char *executed_as(char **envp)
{
    while (*envp)
        envp++;
    for (const unsigned long *auxiliary = (const unsigned long *)(envp + 1); auxiliary[0]; auxiliary += 2)
        if (auxiliary[0] == AT_EXECFN)
            return (const char *)auxiliary[1];
    return NULL;
}

__attribute__((used, noreturn)) void launch(long *stack)
{
    static struct command command;
    static struct path own, bin;
    int argc = (int)stack[0];
    char **argv = (char **)(stack + 1), **envp = argv + argc + 1;
    const char *name = executed_as(envp);
    long length = syscall4(SYS_readlinkat, AT_FDCWD, (long)"/proc/self/exe", (long)own.text, PATH_BYTES - 1);

    if (length > 0)
        own.length = (size_t)length;
    else if (name)
        start_path(&own, name);
    int is_runtime = equal(base_name(own.text), "estiva-runtime");
    command.main_file = is_runtime ? "estiva/runtime/__main__.py" : "estiva/__main__.py";
    command.module = is_runtime ? "estiva.runtime" : "estiva";
    command.search = variable(envp, "PATH");

    bin = own;
    parent(&bin);
    int there = find_package(&command, &bin);
    if (!there && name) { /* an installer that links files out of a cache: look beside the link */
        struct path linked;
        start_path(&linked, name);
        parent(&linked);
        there = find_package(&command, &linked);
    }
    if (there) {
        const char *const options[] = {"-I", "-S", command.script.text};
        run(&command.python, options, 3, argc, argv, envp);
    }
    if (find_python(&command.python, &bin, command.search, 0, 0)) {
        const char *const options[] = {"-I", "-m", command.module};
        run(&command.python, options, 3, argc, argv, envp);
    }
    fail("Error: starting estiva: no Python interpreter found; install Python 3.11 or newer, or put it on PATH\n");
    __builtin_unreachable();
}

/* The compiler may call these two on its own. */
void *memset(void *to, int byte, size_t count)
{
    for (size_t i = 0; i < count; i++)
        ((volatile char *)to)[i] = (char)byte;
    return to;
}

void *memcpy(void *restrict to, const void *restrict from, size_t count)
{
    for (size_t i = 0; i < count; i++)
        ((volatile char *)to)[i] = ((const char *)from)[i];
    return to;
}
