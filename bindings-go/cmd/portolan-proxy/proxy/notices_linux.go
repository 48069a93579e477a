package proxy

import (
	"context"
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// addressNotices tells when this host's addresses may have changed, as rtnetlink does, until ctx ends.
func addressNotices(ctx context.Context) (<-chan struct{}, error) {
	descriptor, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	socket := os.NewFile(uintptr(descriptor), "rtnetlink")
	groups := uint32(unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR)
	if err := unix.Bind(descriptor, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		return nil, errors.Join(os.NewSyscallError("bind", err), socket.Close())
	}
	context.AfterFunc(ctx, func() { _ = socket.Close() })
	notices := make(chan struct{}, 1)
	go func() { // ends when the socket is closed
		buffer := make([]byte, 4096)
		for {
			// What is lost for want of room is a change like any other.
			if _, err := socket.Read(buffer); err != nil && !errors.Is(err, syscall.ENOBUFS) {
				return
			}
			select {
			case notices <- struct{}{}:
			default: // one is waiting
			}
		}
	}()
	return notices, nil
}
