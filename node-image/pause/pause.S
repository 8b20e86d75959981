/*
 * The process that holds a pod's namespaces: it sleeps, lets the kernel reap
 * the orphans that end up with it (SA_NOCLDWAIT), and ends on SIGTERM and
 * SIGINT, which process 1 of a namespace only sees when it handles them.
 *
 * Built without a C library: cc -nostdlib -static -no-pie.
 */

#if defined(__x86_64__)

	.globl _start
	.text
_start:
	mov	$15, %edi		/* SIGTERM */
	lea	on_end(%rip), %rsi
	call	sigaction
	mov	$2, %edi		/* SIGINT */
	lea	on_end(%rip), %rsi
	call	sigaction
	mov	$17, %edi		/* SIGCHLD */
	lea	on_child(%rip), %rsi
	call	sigaction
sleep:
	mov	$34, %eax		/* pause */
	syscall
	jmp	sleep

sigaction:
	mov	$13, %eax		/* rt_sigaction(signal, action, NULL, 8) */
	xor	%edx, %edx
	mov	$8, %r10d
	syscall
	ret

end:
	mov	$231, %eax		/* exit_group(0) */
	xor	%edi, %edi
	syscall

	.section .rodata
	.balign	8
/* handler, flags (SA_RESTORER, SA_NOCLDWAIT), restorer, mask */
on_end:
	.quad	end, 0x04000000, end, 0
on_child:
	.quad	1, 0x04000002, end, 0

#elif defined(__aarch64__)

	.globl _start
	.text
_start:
	mov	x0, #15			/* SIGTERM */
	adr	x1, on_end
	bl	sigaction
	mov	x0, #2			/* SIGINT */
	adr	x1, on_end
	bl	sigaction
	mov	x0, #17			/* SIGCHLD */
	adr	x1, on_child
	bl	sigaction
sleep:
	mov	x8, #73			/* ppoll(NULL, 0, NULL, NULL, 0) */
	mov	x0, #0
	mov	x1, #0
	mov	x2, #0
	mov	x3, #0
	mov	x4, #0
	svc	#0
	b	sleep

sigaction:
	mov	x8, #134		/* rt_sigaction(signal, action, NULL, 8) */
	mov	x2, #0
	mov	x3, #8
	svc	#0
	ret

end:
	mov	x8, #94			/* exit_group(0) */
	mov	x0, #0
	svc	#0

	.balign	8
/* handler, flags (SA_NOCLDWAIT), restorer, mask */
on_end:
	.quad	end, 0, 0, 0
on_child:
	.quad	1, 2, 0, 0

#else
#error "no pause for this machine yet"
#endif

	.section .note.GNU-stack, "", %progbits
