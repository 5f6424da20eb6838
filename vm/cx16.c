// SPDX-License-Identifier: GPL-2.0
/*
 * cx16: whether the processor's CMPXCHG16B leaves the flags as it should.
 *
 * It changes ZF and nothing else. QEMU 7.2's translator calls the helper without storing which operation the flags are
 * of. When the last one that was stored was "flags" (POPF), the helper takes what the comparison before it compared
 * for the flags. Prints "fine" or "wrong" for CMPXCHG16B with and without LOCK; the status is 1 if one is wrong.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define CF_TO_OF	0x8d5	/* CF, PF, AF, ZF, SF, OF: what a comparison sets */
#define ZF		0x40

static uint64_t cell[2] __attribute__((aligned(16)));

/* The flags after comparing A with B and then exchanging CELL, which is as expected, by the instruction */
#define AFTER(instruction, a, b) ({							\
	uint64_t flags_, lo_ = cell[0], hi_ = cell[1];					\
	asm volatile("sub $128, %%rsp\n\t"	/* the red zone is the compiler's */	\
		     "pushfq; popfq\n\t"						\
		     "cmp %[y], %[x]\n\t"						\
		     instruction "\n\t"							\
		     "pushfq; pop %[flags]\n\t"						\
		     "pushq $0; popfq\n\t"	/* whatever bits it made of it */	\
		     "sub $-128, %%rsp"							\
		     : [flags] "=r" (flags_), "+a" (lo_), "+d" (hi_), [cell] "+m" (cell)\
		     : [x] "r" (a), [y] "r" (b), "b" (1ull), "c" (2ull)			\
		     : "cc", "memory");							\
	flags_; })

static bool wrong(const char *what, uint64_t got, uint64_t compared)
{
	uint64_t want = (compared & CF_TO_OF) | ZF;
	bool bad = (got & CF_TO_OF) != want || (got & ~(uint64_t)0xfff);

	printf("%s: %s: flags 0x%llx after a comparison that set 0x%llx\n", what, bad ? "wrong" : "fine",
	       (unsigned long long)got, (unsigned long long)(compared & CF_TO_OF));
	return bad;
}

int main(void)
{
	uint64_t a = 0xffff88803ee34600, b = 0, compared;
	bool bad;

	compared = AFTER("", a, b);
	bad = wrong("CMPXCHG16B", AFTER("cmpxchg16b %[cell]", a, b), compared);
	bad |= wrong("LOCK CMPXCHG16B", AFTER("lock cmpxchg16b %[cell]", a, b), compared);
	return bad;
}
