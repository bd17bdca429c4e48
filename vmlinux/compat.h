/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Older shapes of the same structs; libbpf cuts the name at the three underscores. */

/* before 5.14 */
struct task_struct___v5_13 {
	long state;
};
