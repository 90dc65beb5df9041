package network

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"sync"
)

// Addresses hands out the addresses of a prefix in order, so that a freed one is not used again soon: a client that
// still knows a dead pod's address must not reach another pod.
type Addresses struct {
	mu     sync.Mutex
	prefix netip.Prefix
	first  uint32
	next   uint32
	used   map[netip.Addr]bool
}

// NewAddresses hands out prefix from its first-th address on. IPv4 only.
func NewAddresses(prefix netip.Prefix, first uint32) *Addresses {
	return &Addresses{prefix: prefix.Masked(), first: first, next: first, used: map[netip.Addr]bool{}}
}

// Take returns an unused address.
func (a *Addresses) Take() (netip.Addr, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	size := uint32(1) << (32 - a.prefix.Bits())
	for range size - a.first {
		address := a.at(a.next)
		if a.next++; a.next >= size {
			a.next = a.first
		}
		last := address.As4()[3]
		if last != 0 && last != 255 && !a.used[address] {
			a.used[address] = true
			return address, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("no address is free in %s", a.prefix)
}

// Claim takes one address, and says whether it could be had.
func (a *Addresses) Claim(address netip.Addr) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.prefix.Contains(address) || a.used[address] {
		return false
	}
	a.used[address] = true
	return true
}

// Free gives an address back.
func (a *Addresses) Free(address netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.used, address)
}

func (a *Addresses) at(offset uint32) netip.Addr {
	base := a.prefix.Addr().As4()
	var out [4]byte
	binary.BigEndian.PutUint32(out[:], binary.BigEndian.Uint32(base[:])+offset)
	return netip.AddrFrom4(out)
}
