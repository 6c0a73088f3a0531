// Answers for the CPUID instructions that older_processor.py replaced by undefined ones: what the
// processor says, without the flags that $LIKE ("avx512_vnni" or "avx2") has not. The bits are
// those of leaf 7 in Intel's Software Developer's Manual, volume 2A, CPUID.
#define _GNU_SOURCE
#include <cpuid.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#define BIT(n) (1u << (n))

// amx_bf16, avx512_fp16, amx_tile, amx_int8
static const unsigned EDX = BIT(22) | BIT(23) | BIT(24) | BIT(25);
// avx512_bf16, amx_fp16
static const unsigned EAX_1 = BIT(5) | BIT(21);
// avx512 f, dq, ifma, pf, er, cd, bw, vl
static const unsigned EBX_AVX512 =
    BIT(16) | BIT(17) | BIT(21) | BIT(26) | BIT(27) | BIT(28) | BIT(30) | BIT(31);
// avx512 vbmi, vbmi2, vnni, bitalg, vpopcntdq
static const unsigned ECX_AVX512 = BIT(1) | BIT(6) | BIT(11) | BIT(12) | BIT(14);
// avx512 4vnniw, 4fmaps, vp2intersect
static const unsigned EDX_AVX512 = BIT(2) | BIT(3) | BIT(8);
// avx_vnni, avx_ifma
static const unsigned EAX_1_VNNI = BIT(4) | BIT(23);
// avx_vnni_int8, avx_ne_convert, amx_complex, avx_vnni_int16
static const unsigned EDX_1 = BIT(4) | BIT(5) | BIT(8) | BIT(10);

static int no_avx512;
static struct sigaction before;

static void answer(int signal, siginfo_t *info, void *context) {
  (void)signal, (void)info;
  greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
  const unsigned char *code = (const unsigned char *)registers[REG_RIP];
  if (code[0] != 0x0f || code[1] != 0x0b) {
    sigaction(SIGILL, &before, NULL);
    return;
  }
  unsigned leaf = registers[REG_RAX], part = registers[REG_RCX], eax, ebx, ecx, edx;
  __cpuid_count(leaf, part, eax, ebx, ecx, edx);
  if (leaf == 7 && part == 0) {
    edx &= ~EDX;
    if (no_avx512) ebx &= ~EBX_AVX512, ecx &= ~ECX_AVX512, edx &= ~EDX_AVX512;
  } else if (leaf == 7 && part == 1) {
    eax &= ~EAX_1;
    if (no_avx512) eax &= ~EAX_1_VNNI, edx &= ~EDX_1;
  }
  registers[REG_RAX] = eax, registers[REG_RBX] = ebx;
  registers[REG_RCX] = ecx, registers[REG_RDX] = edx;
  registers[REG_RIP] += 2;
}

__attribute__((constructor)) static void start(void) {
  const char *like = getenv("LIKE");
  no_avx512 = like != NULL && strcmp(like, "avx2") == 0;
  struct sigaction action = {.sa_sigaction = answer, .sa_flags = SA_SIGINFO | SA_NODEFER};
  sigaction(SIGILL, &action, &before);
}
