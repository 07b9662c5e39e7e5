// Lets the search run from the file system, where browsers refuse to start a worker. The worker's script runs in a
// hidden frame instead, and receives and answers messages there.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      this.frame = document.createElement("iframe")
      this.frame.hidden = true
      this.frame.srcdoc = `
        <script>
          window.postMessage = (data) => parent.postMessage(data, "*")
          window.importScripts = (...urls) =>
            urls.reduce((before, url) => before.then(() => new Promise((done, failed) => {
              const tag = document.createElement("script")
              tag.src = url
              tag.onload = done
              tag.onerror = failed
              document.head.append(tag)
            })), Promise.resolve())
        <\/script>
        <script src="${new URL(url, location.href)}"><\/script>`
      this.ready = new Promise((resolve) => (this.frame.onload = resolve))
      window.addEventListener("message", (event) => {
        if (event.source !== this.frame.contentWindow) return
        const copy = new MessageEvent("message", { data: event.data })
        this.dispatchEvent(copy)
        if (this.onmessage) this.onmessage(copy)
      })
      document.documentElement.append(this.frame)
    }

    postMessage(data) {
      this.ready.then(() => this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data })))
    }

    terminate() {
      this.frame.remove()
    }
  }
}
