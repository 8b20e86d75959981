package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
	protocols "k8s.io/apimachinery/pkg/util/remotecommand"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/kubelet/pkg/cri/streaming/portforward"
	streaming "k8s.io/kubelet/pkg/cri/streaming/remotecommand"
)

const (
	idle     = time.Minute
	creation = 10 * time.Second
)

// kubelet answers what an API server asks of a node, with upstream's own streaming code. As upstream's it does
// not speak version 5 over WebSocket.
//
// Its certificate, key and the authority of its clients are files. Its port goes to standard output.
func kubelet(certificate, key, clientCA string) error {
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return err
	}
	authority, err := os.ReadFile(clientCA)
	if err != nil {
		return err
	}
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(authority)
	listener, err := net.Listen("tcp", ":0")
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	server := &http.Server{
		Handler: http.HandlerFunc(serveNode),
		TLSConfig: &tls.Config{
			Certificates: []tls.Certificate{pair},
			ClientCAs:    clients,
			ClientAuth:   tls.RequireAndVerifyClientCert,
		},
		// Connections are upgraded, which HTTP/2 cannot.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	return server.ServeTLS(listener, "", "")
}

func serveNode(w http.ResponseWriter, req *http.Request) {
	parts := strings.Split(strings.Trim(req.URL.Path, "/"), "/")
	switch {
	case parts[0] == "containerLogs" && len(parts) == 4:
		fmt.Fprintf(w, "line of %s\n%s\n", parts[3], req.URL.RawQuery)
	case parts[0] == "exec" && len(parts) == 4:
		serveCommand(w, req, parts, req.URL.Query()["command"])
	case parts[0] == "attach" && len(parts) == 4:
		serveCommand(w, req, parts, []string{"attached"})
	case parts[0] == "portForward" && len(parts) == 3:
		options, err := portforward.NewV4Options(req)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		portforward.ServePortForward(w, req, echo{}, parts[2], "", options, idle, creation, portforward.SupportedProtocols)
	default:
		body, _ := io.ReadAll(req.Body)
		fmt.Fprintf(w, "%s %s %s", req.Method, req.URL.RequestURI(), body)
	}
}

func serveCommand(w http.ResponseWriter, req *http.Request, parts []string, command []string) {
	options, err := streaming.NewOptions(req)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	streaming.ServeExec(w, req, echo{}, parts[2], "", parts[3], command, options, idle, creation, protocols.SupportedStreamingProtocols)
}

// echo says what it is asked to run, then what it is told.
type echo struct{}

func (echo) ExecInContainer(_ context.Context, _ string, _ types.UID, _ string, command []string, in io.Reader, out, stderr io.WriteCloser, tty bool, _ <-chan remotecommand.TerminalSize, _ time.Duration) error {
	if command[0] == "fail" {
		return fmt.Errorf("it failed")
	}
	fmt.Fprintf(out, "%s tty=%t\n", strings.Join(command, " "), tty)
	if in != nil {
		if _, err := io.Copy(out, in); err != nil {
			return err
		}
	}
	if stderr != nil && !tty {
		fmt.Fprintln(stderr, "done")
	}
	return nil
}

func (echo) PortForward(_ context.Context, _ string, _ types.UID, port int32, stream io.ReadWriteCloser) error {
	defer stream.Close()
	if _, err := http.ReadRequest(bufio.NewReader(stream)); err != nil {
		return err
	}
	body := fmt.Sprintf("port %d", port)
	_, err := fmt.Fprintf(stream, "HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	return err
}
