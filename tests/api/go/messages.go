package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/websocket"
	"k8s.io/client-go/rest"
)

// messages asks for a path over WebSocket, as upstream's conformance tests do, and prints what comes: a line
// per message, quoted, then `closed`. A handshake that is refused is an error.
func messages(config *rest.Config, path string, protocols []string) error {
	tls, err := rest.TLSConfigFor(config)
	if err != nil {
		return err
	}
	at, err := url.Parse(config.Host)
	if err != nil {
		return err
	}
	location := "wss://" + at.Host + path
	asked, err := websocket.NewConfig(location, strings.Replace(location, "wss", "https", 1))
	if err != nil {
		return err
	}
	asked.TlsConfig, asked.Protocol, asked.Header = tls, protocols, http.Header{}
	socket, err := websocket.DialConfig(asked)
	if err != nil {
		return err
	}
	defer socket.Close()
	for {
		var message []byte
		if err := websocket.Message.Receive(socket, &message); err != nil {
			fmt.Println("closed")
			return nil
		}
		fmt.Printf("%q\n", message)
	}
}
