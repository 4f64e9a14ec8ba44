# References to variables that C does not make but assemblers and other compilers
# do: with an addend to a symbol of its own. Each program returns what it reads.
	.section xdp,"ax",@progbits
	.macro prog name, at
	.globl \name
	.type \name,@function
\name:
	r1 = \at ll
	r0 = *(u32 *)(r1 + 0)
	exit
	.size \name, .-\name
	.endm
	prog global, one
	prog global_plus, one+8
	prog global_minus, three-4
	prog next_plus, three+4
	prog static_plus, hidden+4
	prog section_plus, .data+12
	prog bss_plus, nothing+12
	prog const_plus, table+8
	prog merged_plus, constant+12

	.data
	.globl one
	.type one,@object
one:	.long 1, 0, 3
	.size one, 12
	.globl three
	.type three,@object
three:	.long 3, 4
	.size three, 8
	.type hidden,@object
hidden:	.long 1, 2
	.size hidden, 8

	.bss
	.globl nothing
	.type nothing,@object
nothing:
	.zero 16
	.size nothing, 16

	.section .rodata,"a",@progbits
	.globl table
	.type table,@object
table:	.long 0, 1, 2
	.size table, 12

	.section .rodata.cst16,"aM",@progbits,16
	.globl constant
	.type constant,@object
constant:
	.long 4, 4, 4, 1
	.size constant, 16
