package plugin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/portolan/portolan/bindings-go/cmd/portolan-cni/attachment"
)

// errNoDaemon: nobody listens at the socket.
var errNoDaemon = errors.New("`portolan-cni daemon` does not answer")

// patience is how long the daemon may take. An IPv6 address alone may take seconds to become usable.
const patience = 30 * time.Second

// ask has the daemon do something.
func ask(socket, what string, about any) error {
	text, err := json.Marshal(about)
	if err != nil {
		return err
	}
	client := http.Client{Timeout: patience, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var dialer net.Dialer
			connection, err := dialer.DialContext(ctx, "unix", socket)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", errNoDaemon, err)
			}
			return connection, nil
		},
	}}
	defer client.CloseIdleConnections()
	response, err := client.Post("http://daemon/"+what, "application/json", bytes.NewReader(text))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	said, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	switch {
	case err != nil:
		return err
	case response.StatusCode == http.StatusNoContent:
		return nil
	case response.StatusCode == http.StatusServiceUnavailable:
		return attachment.ErrNotReady
	}
	return errors.New(strings.TrimSpace(string(said)))
}
