/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Tasks, their files and control groups. */

typedef struct {
	int counter;
} atomic_t;

struct signal_struct {
	atomic_t live;
};

struct mm_struct {
	unsigned long arg_start, arg_end, env_start, env_end;
};

struct sock;

struct file;

struct socket {
	struct file *file;
	struct sock *sk;
};

struct inode {
	unsigned short i_mode;
	unsigned long i_ino;
};

struct file {
	void *private_data;
	struct inode *f_inode;
};

struct fdtable {
	unsigned int max_fds;
	struct file **fd;
};

struct files_struct {
	struct fdtable *fdt;
};

typedef struct {
	u32 val;
} kuid_t;

struct cred {
	kuid_t uid;
};

struct task_struct {
	struct thread_info thread_info;
	unsigned int __state; /* "state" before 5.14: see compat.h */
	void *stack;
	unsigned int flags;
	struct mm_struct *mm;
	int exit_code;
	int pid;
	int tgid;
	struct task_struct *real_parent;
	u64 start_time; /* CLOCK_MONOTONIC, ns */
	const struct cred *cred;
	char comm[16];
	struct files_struct *files;
	struct signal_struct *signal;
	struct bpf_local_storage *bpf_storage; /* NULL: nothing is kept with this task */
};

struct linux_binprm;
struct bpf_local_storage;
