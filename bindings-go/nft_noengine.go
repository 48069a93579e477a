//go:build !cgo || !linux

package portolan

import "context"

// NFT is nftables tables; on Linux, with the engine.
type NFT struct{}

// OpenNFT returns ErrNoEngine.
func OpenNFT(NFTOptions) (*NFT, error) { return nil, ErrNoEngine }

// Sync returns ErrNoEngine.
func (*NFT) Sync(*Node, int64) error { return ErrNoEngine }

// Poll returns ErrNoEngine.
func (*NFT) Poll(int64) (int64, error) { return 0, ErrNoEngine }

// Run returns ErrNoEngine.
func (*NFT) Run(context.Context, *Node, <-chan struct{}, func(error)) error { return ErrNoEngine }

// Dump returns ErrNoEngine.
func (*NFT) Dump() (string, error) { return "", ErrNoEngine }

// RenderNFT returns ErrNoEngine.
func (*Node) RenderNFT(NFTOptions) (string, error) { return "", ErrNoEngine }

// Rejections returns ErrNoEngine.
func (*NFT) Rejections() ([]Rejection, error) { return nil, ErrNoEngine }

// Stats returns ErrNoEngine.
func (*NFT) Stats() (NFTStats, error) { return NFTStats{}, ErrNoEngine }

// Delete returns ErrNoEngine.
func (*NFT) Delete() error { return ErrNoEngine }

// Close does nothing.
func (*NFT) Close() error { return nil }
