module github.com/portolan/portolan/bindings-go

go 1.24
