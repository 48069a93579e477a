package config

import (
	"net"
	"net/netip"
	"strconv"
	"time"
)

func seconds(count int64) time.Duration { return time.Duration(count) * time.Second }

func orString(field *string, value string) {
	if *field == "" {
		*field = value
	}
}

// withPort completes an address that lacks its host, its port or both.
func withPort(address, host string, port int) string {
	if address == "" {
		address = host
	}
	if _, _, err := net.SplitHostPort(address); err == nil {
		return address
	}
	return net.JoinHostPort(address, strconv.Itoa(port))
}

// anyAddress is the unspecified address of the family of bind.
func anyAddress(bind string) string {
	if isIPv6(bind) {
		return "::"
	}
	return "0.0.0.0"
}

func loopback(bind string) string {
	if isIPv6(bind) {
		return "::1"
	}
	return "127.0.0.1"
}

func isIPv6(text string) bool {
	address, err := netip.ParseAddr(text)
	return err == nil && address.Is6() && !address.Is4In6()
}
