/*
 * The first code that runs in dist/sallyport, before the dynamic loader.
 *
 * Node's executable needs libstdc++, libgcc_s and libatomic, which a host need not have, and the loader only takes
 * libraries from files. So the executable carries them: this code puts them into sealed memfds, names them to the
 * loader (LD_PRELOAD), maps the loader as the kernel would have done for PT_INTERP, and enters it. scripts/lib/elf.ts
 * appends this code and the libraries to the executable and fills in `config`.
 *
 * It also takes from the environment whatever makes the loader, libc, OpenSSL or Node load code or open a debugger.
 *
 * Where the executable is bound at RUNTIME, as in the sandbox of an Op with `runtime: node`, it is plain Node: this code
 * takes back the mark by which Node finds an application in its own file (its "fuse"), in this process's memory alone.
 *
 * Freestanding: no libc, no writable data, position independent.
 */
#include <elf.h>
#include <stddef.h>
#include <stdint.h>

#define MAX_BLOBS 8
#define MAX_ENV 4096
#define RUNTIME "/run/runtime/node" /* src/exec/runtime.ts */
#define HIDDEN_INTERP 0x6c796c73 /* what elf.ts wrote over PT_INTERP, so that the kernel leaves the loader to us */

struct blob {
  uint64_t address, size;
  char name[32];
  uint64_t is_library; /* else it's the harden addon */
};
struct config {
  uint64_t magic, entry, phdr, phnum, blobs, fuse;
  struct blob blob[MAX_BLOBS];
};

/* Filled in by elf.ts, at the start of the blob so that it finds it. */
__attribute__((section(".config"), used)) const volatile struct config config = {.magic = 0x54524f5059a11a5ULL};

static long syscall6(long n, long a, long b, long c, long d, long e, long f) {
  long r;
  register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
  __asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return r;
}
#define SYS3(n, a, b, c) syscall6(n, (long)(a), (long)(b), (long)(c), 0, 0, 0)
enum { READ = 0, WRITE = 1, OPEN = 2, CLOSE = 3, POLL = 7, MMAP = 9, MPROTECT = 10, FCNTL = 72, READLINK = 89, EXIT_GROUP = 231, MEMFD = 319 };
enum { P_READ = 1, P_WRITE = 2, P_EXEC = 4, M_PRIVATE = 2, M_FIXED = 16, M_ANON = 32 };
enum { MFD_CLOEXEC = 1, MFD_ALLOW_SEALING = 2, MFD_NOEXEC_SEAL = 8, ADD_SEALS = 1033, ALL_SEALS = 15 };
enum { BUSY = 16, SEAL_TRIES = 100, SEAL_PAUSE_MS = 20 };
#define PAGE 4096UL

/* gcc emits calls to these. */
void *memcpy(void *to, const void *from, size_t n) {
  char *t = to;
  for (const char *f = from; n--;) *t++ = *f++;
  return to;
}
void *memset(void *to, int c, size_t n) {
  for (char *t = to; n--;) *t++ = (char)c;
  return to;
}
static size_t length(const char *s) {
  size_t n = 0;
  while (s[n]) n++;
  return n;
}
static int begins(const char *s, const char *prefix) {
  while (*prefix)
    if (*s++ != *prefix++) return 0;
  return 1;
}

static __attribute__((noreturn)) void fail(const char *what) {
  SYS3(WRITE, 2, "sallyport: ", 11);
  SYS3(WRITE, 2, what, length(what));
  SYS3(WRITE, 2, "\n", 1);
  for (;;) SYS3(EXIT_GROUP, 1, 0, 0);
}

static char *put(char *to, const char *s) {
  size_t n = length(s);
  memcpy(to, s, n + 1);
  return to + n;
}
static char *put_number(char *to, unsigned long n) {
  char digits[24], *d = digits + sizeof digits - 1;
  *d = 0;
  do *--d = (char)('0' + n % 10);
  while (n /= 10);
  return put(to, d);
}

static long sealed_memfd(const char *name, const char *bytes, size_t size) {
  /* Not to be executed, only mapped: that works with vm.memfd_noexec=2 too. Kernels before 6.3 do not know the flag. */
  long fd = SYS3(MEMFD, name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL, 0);
  if (fd < 0) fd = SYS3(MEMFD, name, MFD_CLOEXEC | MFD_ALLOW_SEALING, 0);
  if (fd < 0) fail("the kernel gives no memfd, which the libraries carried inside need (memfd_create failed)");
  for (size_t done = 0; done < size;) {
    long n = SYS3(WRITE, fd, bytes + done, size - done);
    if (n <= 0) fail("not enough memory to unpack the libraries carried inside");
    done += (size_t)n;
  }
  for (int tries = 0;; tries++) {
    long rc = SYS3(FCNTL, fd, ADD_SEALS, ALL_SEALS);
    if (rc == 0) return fd;
    /* The kernel holds a page for a moment, for its own purposes (memfd_wait_for_pins). */
    if (rc != -BUSY || tries == SEAL_TRIES) fail("a memfd can't be sealed (F_ADD_SEALS failed)");
    SYS3(POLL, 0, 0, SEAL_PAUSE_MS);
  }
}

/* Maps the dynamic loader and returns its entry point; *base gets its load address. */
static uint64_t map_loader(const char *path, uint64_t *base) {
  long fd = SYS3(OPEN, path, 02000000 /* O_RDONLY | O_CLOEXEC */, 0);
  char head[2048] __attribute__((aligned(8)));
  if (fd < 0 || SYS3(READ, fd, head, sizeof head) != (long)sizeof head)
    fail("glibc's loader /lib64/ld-linux-x86-64.so.2 can't be read; this executable needs glibc 2.36 or newer");
  const Elf64_Ehdr *eh = (const Elf64_Ehdr *)head;
  const Elf64_Phdr *ph = (const Elf64_Phdr *)(head + eh->e_phoff);
  if (eh->e_phoff + eh->e_phnum * sizeof *ph > sizeof head || eh->e_type != ET_DYN) fail("the loader's headers are odd");
  uint64_t end = 0;
  for (int i = 0; i < eh->e_phnum; i++)
    if (ph[i].p_type == PT_LOAD) end = ph[i].p_vaddr + ph[i].p_memsz;
  long start = syscall6(MMAP, 0, (long)((end + PAGE - 1) & -PAGE), 0, M_PRIVATE | M_ANON, -1, 0);
  if (start < 0 && start > -4096) fail("no address space for the loader");
  for (int i = 0; i < eh->e_phnum; i++) {
    if (ph[i].p_type != PT_LOAD) continue;
    uint64_t from = ph[i].p_vaddr & -PAGE, skew = ph[i].p_vaddr - from;
    uint64_t file_end = ph[i].p_vaddr + ph[i].p_filesz, page_end = (file_end + PAGE - 1) & -PAGE;
    uint64_t mem_end = (ph[i].p_vaddr + ph[i].p_memsz + PAGE - 1) & -PAGE;
    long prot = (ph[i].p_flags & PF_R ? P_READ : 0) | (ph[i].p_flags & PF_W ? P_WRITE : 0) |
                (ph[i].p_flags & PF_X ? P_EXEC : 0);
    long at = syscall6(MMAP, start + (long)from, (long)(page_end - from), prot, M_PRIVATE | M_FIXED, fd,
                       (long)(ph[i].p_offset - skew));
    if (at < 0 && at > -4096) fail("the loader can't be mapped; is /lib64 mounted noexec?");
    if (ph[i].p_flags & PF_W) {
      memset((char *)start + file_end, 0, page_end - file_end);
      if (mem_end > page_end)
        at = syscall6(MMAP, start + (long)page_end, (long)(mem_end - page_end), prot, M_PRIVATE | M_FIXED | M_ANON, -1, 0);
      if (at < 0 && at > -4096) fail("no memory for the loader");
    }
  }
  SYS3(CLOSE, fd, 0, 0);
  *base = (uint64_t)start;
  return (uint64_t)start + eh->e_entry;
}

/* By the file itself, not by argv: on a host only root can put a file there. */
static int is_runtime(void) {
  char path[sizeof RUNTIME];
  return SYS3(READLINK, "/proc/self/exe", path, sizeof path) == sizeof RUNTIME - 1 && begins(path, RUNTIME);
}

static void take_back_fuse(void) {
  char *fuse = (char *)config.fuse;
  uint64_t page = config.fuse & -PAGE;
  if (SYS3(MPROTECT, page, PAGE, P_READ | P_WRITE) < 0) fail("mprotect failed");
  *fuse = '0';
  SYS3(MPROTECT, page, PAGE, P_READ);
}

/* An Op's own children talk to it through some of Node's variables (fork, cluster, test), so there only these go. */
static int refused_in_runtime(const char *variable) {
  return begins(variable, "LD_") || begins(variable, "NODE_OPTIONS=") || begins(variable, "GLIBC_TUNABLES=");
}

/* Variables by which a loader, libc, OpenSSL or Node takes code, a debugger or weaker checks from the environment. */
static int refused(const char *variable) {
  return begins(variable, "LD_") || begins(variable, "NODE_") || begins(variable, "OPENSSL_") ||
         begins(variable, "SSL_CERT_") || begins(variable, "GLIBC_TUNABLES=") || begins(variable, "GCONV_PATH=") ||
         begins(variable, "MALLOC_") || begins(variable, "LOCPATH=") || begins(variable, "NLSPATH=") ||
         begins(variable, "RES_OPTIONS=") || begins(variable, "HOSTALIASES=") || begins(variable, "UV_") ||
         /* Ours to give, below: whoever names a descriptor can change what it holds between any check and its use. */
         begins(variable, "SALLYPORT_HARDEN_FD=");
}

/*
 * glibc keeps an arena for each thread and raises its mmap threshold with each large block that is freed: V8's compiler
 * threads then leave MiBs behind in every role. One arena, and large blocks that go back to the kernel at once.
 */
static const char malloc_settings[] =
    "GLIBC_TUNABLES=glibc.malloc.arena_max=1:glibc.malloc.mmap_threshold=131072:glibc.malloc.trim_threshold=131072";

static const char preload_name[] = "LD_PRELOAD=", preload_path[] = "/proc/self//fd/";

/*
 * After the loader: what was for it alone leaves the environment, else every program that this one starts would be told to
 * preload descriptors that it doesn't have. It stands last. An Op's Node keeps none of the descriptors either; sallyport's
 * own processes do (close-on-exec): freed, their low numbers would go to what a parent keeps, and clash with the numbers it
 * gives to its children.
 */
__attribute__((used)) void after_loader_c(uint64_t *sp) {
  uint64_t *env = sp + sp[0] + 2;
  while (*env && !begins((const char *)*env, preload_name)) env++;
  const char *at = (const char *)*env;
  if (!at) return;
  *env = 0;
  if (!is_runtime()) return;
  for (; *at; at++) {
    if (!begins(at, preload_path)) continue;
    unsigned long fd = 0;
    for (at += sizeof preload_path - 1; *at >= '0' && *at <= '9'; at++) fd = fd * 10 + (unsigned long)(*at - '0');
    SYS3(CLOSE, fd, 0, 0);
    if (!*at) break;
  }
}

/* Hidden: else its address would be looked up in a table that nobody relocates. */
__attribute__((visibility("hidden"))) void after_loader(void);

/*
 * `sp` is what the kernel left: argc, argv, 0, envp, 0, auxv. Builds the same again, with our environment, in `block`
 * (below `sp`), and says where to go on.
 */
__attribute__((used)) uint64_t start_c(uint64_t *sp, uint64_t *block, uint64_t *entry) {
  uint64_t argc = sp[0], *env = sp + argc + 2, *auxv = env, envs = 0;
  while (*auxv) auxv++, envs++;
  auxv++;
  if (envs > MAX_ENV) fail("the environment has more than 4096 variables");

  /* LD_PRELOAD's odd spelling: the loader knows objects by path, so /proc/self/fd/N stays free for the addons. */
  /* All three are above `out`, which the stack grows down from. */
  char *preload = (char *)sp - 1024, *harden = (char *)sp - 512, *tunables = (char *)sp - 256;
  int runtime = is_runtime();
  char *to = put(preload, preload_name);
  for (uint64_t i = 0, first = 1; i < config.blobs && i < MAX_BLOBS; i++) {
    const volatile struct blob *blob = &config.blob[i];
    if (runtime && !blob->is_library) continue;
    long fd = sealed_memfd((const char *)blob->name, (const char *)blob->address, blob->size);
    if (blob->is_library) {
      if (!first) to = put(to, ":");
      first = 0;
      to = put_number(put(to, preload_path), (unsigned long)fd);
    } else {
      put_number(put(harden, "SALLYPORT_HARDEN_FD="), (unsigned long)fd);
    }
  }
  if (SYS3(CLOSE, SYS3(OPEN, "/proc/self/fd", 02000000, 0), 0, 0) < 0)
    fail("/proc is not mounted here; mount it: mount -t proc proc /proc");

  uint64_t *out = block;
  for (uint64_t i = 0; i < argc + 2; i++) out[i] = sp[i];
  uint64_t *next = out + argc + 2;
  for (uint64_t i = 0; i < envs; i++)
    if (!(runtime ? refused_in_runtime : refused)((const char *)env[i])) *next++ = env[i];
  if (!runtime) *next++ = (uint64_t)harden;
  *next++ = (uint64_t)preload;
  put(tunables, malloc_settings);
  *next++ = (uint64_t)tunables;
  *next++ = 0;

  Elf64_Phdr *ph = (Elf64_Phdr *)config.phdr;
  const char *loader = NULL;
  if (SYS3(MPROTECT, config.phdr & -PAGE, PAGE, P_READ | P_WRITE) < 0) fail("mprotect failed");
  for (uint64_t i = 0; i < config.phnum; i++)
    if (ph[i].p_type == HIDDEN_INTERP) {
      ph[i].p_type = PT_INTERP;
      loader = (const char *)ph[i].p_vaddr;
    }
  SYS3(MPROTECT, config.phdr & -PAGE, PAGE, P_READ);
  if (!loader) fail("this executable is damaged: it names no loader");
  if (runtime) take_back_fuse();

  uint64_t base;
  *entry = map_loader(loader, &base);
  for (;; auxv += 2, next += 2) {
    next[0] = auxv[0];
    next[1] = auxv[1];
    switch (auxv[0]) {
      case AT_BASE: next[1] = base; break;
      case AT_ENTRY: next[1] = (uint64_t)after_loader; break;
      case AT_PHDR: next[1] = config.phdr; break;
      case AT_PHNUM: next[1] = config.phnum; break;
      case AT_SECURE:
        if (auxv[1]) fail("not with set-user-id, set-group-id or file capabilities; give the unit ambient ones instead");
    }
    if (auxv[0] == AT_NULL) return (uint64_t)out;
  }
}

/*
 * The kernel's entry. Room for the new block: as many words as argc, the environment and auxv take, then 1 KiB of text.
 * rdx = 0 tells the loader that there is no function to register at exit.
 */
__asm__(
    ".section .text.start,\"ax\"\n"
    ".globl start\n"
    "start:\n"
    "  mov %rsp, %rdi\n"
    "  mov %rsp, %rsi\n"
    "  mov (%rsp), %rax\n"
    "  lea 0x2200(,%rax,8), %rax\n" /* 1 KiB text, argv, auxv up to 64 pairs, slack */
    "  sub %rax, %rsi\n"
    "  sub $0x8100, %rsi\n" /* MAX_ENV pointers */
    "  and $-64, %rsi\n"
    "  lea -64(%rsi), %rsp\n"
    "  mov %rsp, %rdx\n"
    "  call start_c\n"
    "  mov (%rsp), %rcx\n"
    "  mov %rax, %rsp\n"
    "  xor %edx, %edx\n"
    "  xor %ebp, %ebp\n"
    "  jmp *%rcx\n"
    /* The loader's entry into the program: rdx is its function to register at exit, rsp the block. */
    ".globl after_loader\n"
    "after_loader:\n"
    "  push %rdx\n"
    "  lea 8(%rsp), %rdi\n"
    "  sub $8, %rsp\n"
    "  call after_loader_c\n"
    "  add $8, %rsp\n"
    "  pop %rdx\n"
    "  jmp *config+8(%rip)\n");
