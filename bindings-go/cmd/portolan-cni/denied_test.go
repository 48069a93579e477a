package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/portolan/portolan/bindings-go/cmd/portolan-cni/attachment"
	"github.com/portolan/portolan/bindings-go/cmd/portolan-cni/podnet"
)

// withoutRules, in the environment, makes this program run another as on a kernel without routing rules.
const withoutRules = "PORTOLAN_CNI_TEST_WITHOUT_RULES"

// beWithoutRules has every message that is sent judged by whoever holds the other end of descriptor 3, and becomes the
// program of its arguments.
func beWithoutRules() error {
	runtime.LockOSThread() // the filter is this thread's, and the new program's
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}, // the system call's number
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_SENDTO, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	listener, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return fmt.Errorf("seccomp: %w", errno)
	}
	if err := unix.Sendmsg(3, []byte{0}, unix.UnixRights(int(listener)), nil, 0); err != nil {
		return err
	}
	return syscall.Exec(os.Args[1], os.Args[1:], os.Environ())
}

// Structs of linux/seccomp.h.
type (
	notification struct {
		id            uint64
		pid, flags    uint32
		number        int32
		architecture  uint32
		instructionAt uint64
		arguments     [6]uint64
	}
	response struct {
		id    uint64
		value int64
		errno int32
		flags uint32
	}
)

// judge refuses messages about routing rules, as a kernel without them does, until nobody is left to send any.
func judge(listener int, refused *atomic.Int32) {
	defer unix.Close(listener)
	for {
		ready := []unix.PollFd{{Fd: int32(listener), Events: unix.POLLIN}}
		if _, err := unix.Poll(ready, -1); err != nil && !errors.Is(err, unix.EINTR) || ready[0].Revents&unix.POLLHUP != 0 {
			return
		}
		var asked notification
		if !seccompIoctl(listener, unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&asked)) {
			continue // who asked is gone
		}
		answer := response{id: asked.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
		if isAboutRules(&asked) {
			refused.Add(1)
			answer.flags, answer.errno = 0, -int32(unix.EOPNOTSUPP)
		}
		seccompIoctl(listener, unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&answer))
	}
}

func seccompIoctl(listener int, request uintptr, about unsafe.Pointer) bool {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(listener), request, uintptr(about))
	return errno == 0
}

// isAboutRules reads the sender's message: length, type and so on (struct nlmsghdr).
func isAboutRules(asked *notification) bool {
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", asked.pid))
	if err != nil {
		return false
	}
	defer memory.Close()
	header := make([]byte, unix.SizeofNlMsghdr)
	if _, err := memory.ReadAt(header, int64(asked.arguments[1])); err != nil {
		return false
	}
	switch binary.NativeEndian.Uint16(header[4:]) {
	case unix.RTM_NEWRULE, unix.RTM_DELRULE, unix.RTM_GETRULE:
		return true
	}
	return false
}

// denyRules makes a command one that is refused routing rules, once it is started, and counts what is refused.
func denyRules(t *testing.T, command *exec.Cmd) (refused *atomic.Int32, started func()) {
	t.Helper()
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	theirs := os.NewFile(uintptr(ends[1]), "theirs")
	command.Args = append([]string{own()}, command.Args...)
	command.Args[1], command.Path = command.Path, own()
	command.Env = append(os.Environ(), withoutRules+"=1")
	command.ExtraFiles = []*os.File{theirs}
	refused = new(atomic.Int32)
	return refused, func() {
		theirs.Close()
		defer unix.Close(ends[0])
		control := make([]byte, unix.CmsgSpace(4))
		_, size, _, _, err := unix.Recvmsg(ends[0], make([]byte, 1), control, 0)
		var messages []unix.SocketControlMessage
		if err == nil {
			messages, err = unix.ParseSocketControlMessage(control[:size])
		}
		if err != nil || len(messages) != 1 {
			t.Skipf("system calls of others cannot be judged here: %v", err)
		}
		descriptors, err := unix.ParseUnixRights(&messages[0])
		if err != nil || len(descriptors) != 1 {
			t.Fatalf("%v %v", descriptors, err)
		}
		go judge(descriptors[0], refused)
	}
}

func TestWithoutRoutingRulesAPodsPacketsPassByWire(t *testing.T) {
	t.Parallel()
	rig := newRig(t)
	client, server := rig.newPod("client"), rig.newPod("server")
	server.serve()
	rig.service("web", 80, server)
	rig.deny = true
	rig.start()
	before := client.arrangement()
	for range 2 {
		client.mustAdd()
		if err := client.check(); err != nil {
			t.Errorf("CHECK: %v", err)
		}
		client.mustCurl(web4, "server")
		client.mustCurl(web6, "server")
		client.inside(client.name, func() error {
			_, err := net.InterfaceByName(podnet.Outside)
			return err
		})
		if err := client.del(); err != nil {
			t.Errorf("DEL: %v", err)
		}
		if after := client.arrangement(); after != before {
			t.Errorf("DEL left something behind: %s", differences(before, after))
		}
	}
	if rig.refused.Load() == 0 {
		t.Error("no routing rule was asked for")
	}
	t.Run("but not if a TUN was asked for", func(t *testing.T) {
		rig.mode = attachment.ModeTUN
		_, err := rig.cni().AddNetworkList(context.Background(), rig.network(client), client.runtime())
		if err == nil || client.arrangement() != before || rig.records() != 0 {
			t.Errorf("ADD: %v, %d records", err, rig.records())
		}
	})
}
