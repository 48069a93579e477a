package portolan

// TUNOptions are how a TUN device is opened. The zero value of a field is its default.
type TUNOptions struct {
	// Name is the interface's, at most 15 bytes; "%d" in it lets the kernel number it.
	Name string
	// Descriptors, one for each queue, of a TUN that is open, instead of a name. They stay the caller's.
	Descriptors []int
	// Queues is how many to ask for, each with a thread and a worker; 0: one.
	Queues int
	// MTU is set if it is not 0.
	MTU int
	// Up sets the interface up. NoOffload does without checksum and segmentation offload.
	Up, NoOffload bool
}

// AFPacketOptions are which Ethernet interfaces packets are taken from, and given to. The zero value of a field is its
// default.
type AFPacketOptions struct {
	// Interface is its name, at most 15 bytes; with OtherSide, the one on this side.
	Interface string
	// OtherSide is the interface on the other side of a bump in the wire; empty: a next hop.
	OtherSide string
	// Queues is how many share an interface's frames, each with a thread and a worker; 0: one. Between two interfaces
	// each has as many.
	Queues int
	// Up sets the interfaces up. SoftwareOffload completes checksums and cuts segments even if the kernel would.
	Up, SoftwareOffload bool
}

// DriverStats are counts of one queue since its start.
type DriverStats struct {
	ReceivedPackets, ReceivedBytes, SentPackets, SentBytes uint64
	Passed, Forwarded, Replied, Dropped                    uint64
	Bursts, Waits                                          uint64
	// Lost packets: never processed, or not taken by the device.
	Unreadable, Unsegmentable, RefusedWrites, ShortWrites, FailedWrites uint64
	CPUNanos                                                            uint64
	// OtherFrames carry no IP packet; MissedFrames were not read fast enough. None of a TUN.
	OtherFrames, MissedFrames uint64
}
