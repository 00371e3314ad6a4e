# Memory for confidential and ordinary virtual machines on QEMU/KVM.
#
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Every target does its own set-up: packages, sources, builds.  What is built
# is kept by the hash of what it is made from in ~/.cache/qemu-guest-memfd.

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 24
	@echo
	@echo 'QEMU_SOURCE= and LINUX_SOURCE= take a tree or tarball of your own.'

run: ## boot guests whose memory is private, in the lab
	@scripts/run

check: ## unit tests, qtests, style, documentation, lab scenarios
	@scripts/setup --all && scripts/check

check-full: ## the same, slow scenarios, other kernels, each patch, packages
	@scripts/setup --all && scripts/check --full

check-debug: ## lab scenarios on a kernel with its own checks: KASAN, lockdep, ...
	@scripts/setup --all && scripts/check lab-debug

bench: ## benchmarks, side by side with memory-backend-memfd
	@scripts/setup --all && scripts/bench

fuzz: ## conversions at random, until interrupted or for SECONDS= each way
	@scripts/fuzz $(SECONDS)

lab: ## a shell in the lab, with our QEMU in it
	@scripts/run --shell

qemu: ## build/qemu-system-x86_64
	@scripts/setup && scripts/build-qemu

kernel: ## build/lab/bzImage
	@scripts/setup && scripts/build-kernel

kernel-debug: ## build/lab/bzImage-debug, with the kernel's own checks
	@scripts/setup && scripts/build-kernel --debug

kernel-stock: ## build/lab/bzImage-stock, without our patches
	@scripts/setup && scripts/build-kernel --stock

install: ## QEMU, for DESTDIR= and PREFIX= (/usr/local), beside another QEMU
	@scripts/setup && scripts/build-qemu && scripts/install

deb: ## Debian packages of QEMU and of the lab, in build/deb
	@scripts/setup --all && scripts/build-qemu && scripts/build-kernel && \
		scripts/build-deb

docs: ## the manual, in build/qemu/docs/manual
	@scripts/setup && scripts/build-qemu html man
	@echo 'The manual is build/qemu/docs/manual/index.html.'

tree: ## build/tree: a git work tree of patched QEMU with our files linked in
	@scripts/setup && scripts/tree qemu
	@echo 'build/tree is patched QEMU, with our files linked in.'

linux-tree: ## build/linux: the same for the lab kernel
	@scripts/setup && scripts/tree linux
	@echo 'build/linux is the patched lab kernel.'

patches: ## write the commits in build/tree and build/linux back to patches/
	@scripts/patches qemu
	@! test -d build/linux || scripts/patches linux

setup: ## install the Debian packages that are missing, for all targets
	@scripts/setup --all

clean: ## remove what is built, but for work trees and the cache
	rm -rf build/qemu build/asan build/tsan build/bench build/each \
		build/variants build/chroot build/deb build/deb-* build/fuzz build/lab \
		build/linux-stock build/log build/tests build/qemu-bundle \
		build/qemu-system-x86_64*

.PHONY: help run check check-full check-debug bench fuzz lab qemu kernel \
	kernel-debug kernel-stock install deb docs tree linux-tree patches setup clean
