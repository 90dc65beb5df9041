package network

import (
	"net/netip"
	"testing"
)

func TestFreedAddressesComeBackLast(t *testing.T) {
	pool := NewAddresses(netip.MustParsePrefix("198.19.0.0/24"), 1)
	first, err := pool.Take()
	if err != nil || first.String() != "198.19.0.1" {
		t.Fatalf("first: %v, %v", first, err)
	}
	pool.Free(first)
	for i := 2; i <= 254; i++ {
		address, err := pool.Take()
		if err != nil {
			t.Fatal(err)
		}
		if address == first {
			t.Fatalf("%s was reused after %d others", first, i-2)
		}
	}
	again, err := pool.Take()
	if err != nil || again != first {
		t.Fatalf("the freed address: %v, %v", again, err)
	}
	if address, err := pool.Take(); err == nil {
		t.Fatalf("a full pool gave %s", address)
	}
}

func TestAddressesAreClaimedOnceAndOnlyFromThePool(t *testing.T) {
	pool := NewAddresses(netip.MustParsePrefix("198.19.0.0/24"), 1)
	wanted := netip.MustParseAddr("198.19.0.200")
	if !pool.Claim(wanted) {
		t.Fatal("a free address was refused")
	}
	if pool.Claim(wanted) {
		t.Fatal("a taken address was given away")
	}
	if pool.Claim(netip.MustParseAddr("203.0.113.9")) {
		t.Fatal("an address outside the pool was given away")
	}
}
