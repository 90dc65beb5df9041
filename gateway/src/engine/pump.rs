//! Moves one exchange between a client and an upstream, both ways at once, in bounded memory.
//!
//! Nothing here awaits: the pump is polled, moves what can be moved, and leaves a waker wherever it
//! stopped. Each direction stops for one of two reasons: the source has nothing, or the sink is
//! full. A sink that was full and has room again after its write must be served again before the
//! pump may wait, or nobody wakes it.

use super::{
    deadline::Expired,
    down::DownError,
    fault::{Cut, Fault},
    flow::{Flow, Idle},
    up::Up,
};
use crate::http::{ResponseHead, forward, h1::BodyEvent};
use gwanmun_ir::Dialect;
use std::task::{Context, Poll};

/// Rounds before other tasks of the core get their turn.
const ROUNDS: usize = 32;

/// Why a direction stopped moving.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Moved {
    /// Everything has been handed on.
    Done,
    /// The sink is full.
    Full,
    /// The source has nothing.
    Waiting,
}

/// How the wait for a response's head ended.
#[derive(Debug)]
pub(crate) enum Begun {
    /// The final head.
    Head(Box<ResponseHead>),
    /// The client's side failed.
    Down(DownError),
    /// The try failed.
    Fault(Fault),
    /// The request's body is larger than the route allows.
    TooLarge,
}

/// How a response ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ended {
    /// It was delivered.
    Complete,
    /// It had to be cut off.
    Cut(Cut),
    /// The client's side failed.
    Down(DownError),
}

/// One try: moves the request to the upstream and the response back.
pub(crate) struct Pump {
    /// Taken when the exchange with the upstream is over.
    up: Option<Up>,
    /// How much of the replay buffer this try has sent.
    sent: usize,
    /// The end of the request is with the upstream.
    finished: bool,
    /// The upstream takes no more of the request.
    refused: bool,
}

enum Stop {
    Down(DownError),
    TooLarge,
}

impl Pump {
    /// A try whose head is queued.
    pub(crate) fn new(up: Up) -> Self {
        Self {
            up: Some(up),
            sent: 0,
            finished: false,
            refused: false,
        }
    }

    /// The upstream's side, unless it was released.
    pub(crate) fn up(&self) -> Option<&Up> {
        self.up.as_ref()
    }

    /// Ends the try.
    pub(crate) fn release(&mut self, flow: &Flow<'_>) {
        if let Some(up) = self.up.take() {
            flow.release(up);
        }
    }

    /// Takes the upstream's side out.
    pub(crate) fn take_up(&mut self) -> Option<Up> {
        self.up.take()
    }

    /// Sends the request and waits for the final head.
    pub(crate) fn poll_begin(&mut self, flow: &mut Flow<'_>, cx: &mut Context<'_>) -> Poll<Begun> {
        for _ in 0..ROUNDS {
            let request = match self.move_request(flow, cx) {
                Ok(moved) => moved,
                Err(Stop::Down(error)) => return Poll::Ready(Begun::Down(error)),
                Err(Stop::TooLarge) => return Poll::Ready(Begun::TooLarge),
            };
            let again = self.write_request(cx, request);
            if let Poll::Ready(result) = self.poll_head(flow, cx) {
                return Poll::Ready(match result {
                    Ok(head) => Begun::Head(head),
                    Err(fault) => Begun::Fault(fault),
                });
            }
            if again {
                continue;
            }
            if let Poll::Ready(Err(error)) = flow.client.down.poll_write(cx) {
                return Poll::Ready(Begun::Down(error));
            }
            return match poll_idle(flow, cx, request) {
                Poll::Ready(Idle::Down(error)) => Poll::Ready(Begun::Down(error)),
                Poll::Ready(Idle::Expired(Expired::Request)) => {
                    Poll::Ready(Begun::Fault(Fault::RequestTimeout))
                }
                Poll::Ready(Idle::Expired(Expired::PerTry)) => {
                    Poll::Ready(Begun::Fault(Fault::PerTry))
                }
                Poll::Pending => Poll::Pending,
            };
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Delivers the response, whose head is with the client's side already.
    pub(crate) fn poll_deliver(
        &mut self,
        flow: &mut Flow<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<Ended> {
        for _ in 0..ROUNDS {
            let request = match self.move_request(flow, cx) {
                Ok(moved) => moved,
                Err(Stop::Down(error)) => return Poll::Ready(Ended::Down(error)),
                Err(Stop::TooLarge) => return Poll::Ready(Ended::Cut(Cut::TooLarge)),
            };
            let mut again = self.write_request(cx, request);
            let response = match self.move_response(flow, cx) {
                Ok(moved) => moved,
                Err(cut) => return Poll::Ready(Ended::Cut(cut)),
            };
            if let Poll::Ready(Err(error)) = flow.client.down.poll_write(cx) {
                return Poll::Ready(Ended::Down(error));
            }
            if response == Moved::Done && flow.client.down.is_flushed() {
                return Poll::Ready(Ended::Complete);
            }
            again |= response == Moved::Full && flow.client.down.has_room();
            if again {
                continue;
            }
            return match poll_idle(flow, cx, request) {
                Poll::Ready(Idle::Down(error)) => Poll::Ready(Ended::Down(error)),
                Poll::Ready(Idle::Expired(_)) => Poll::Ready(Ended::Cut(Cut::Timeout)),
                Poll::Pending => Poll::Pending,
            };
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Moves body bytes from the replay buffer, then from the client, to the upstream's queue.
    fn move_request(&mut self, flow: &mut Flow<'_>, cx: &mut Context<'_>) -> Result<Moved, Stop> {
        let Some(up) = &mut self.up else {
            return Ok(Moved::Done);
        };
        if self.refused {
            return Ok(Moved::Done);
        }
        while !self.finished {
            if !up.has_room() {
                return Ok(Moved::Full);
            }
            if let Some(piece) = flow.body.replay.piece(self.sent) {
                up.push(piece.clone());
                self.sent += 1;
                continue;
            }
            if flow.body.ended {
                up.finish(flow.body.trailers.as_ref());
                self.finished = true;
                break;
            }
            match flow.client.down.poll_body(cx, &flow.core.buffers) {
                Poll::Ready(Ok(BodyEvent::Data(data))) => {
                    flow.record.count_received(data.len());
                    if !flow.body.count(&data) {
                        return Err(Stop::TooLarge);
                    }
                    self.sent = flow.body.replay.len();
                    up.push(data);
                }
                Poll::Ready(Ok(BodyEvent::End(trailers))) => {
                    flow.body.ended = true;
                    flow.body.trailers = trailers;
                    flow.request_complete();
                }
                Poll::Ready(Err(error)) => return Err(Stop::Down(error)),
                Poll::Pending => return Ok(Moved::Waiting),
            }
        }
        Ok(Moved::Done)
    }

    /// Writes to the upstream; true if that made room for a request that was stopped for lack of
    /// it.
    fn write_request(&mut self, cx: &mut Context<'_>, request: Moved) -> bool {
        let Some(up) = &mut self.up else { return false };
        if self.refused {
            return false;
        }
        match up.poll_write(cx) {
            Poll::Ready(Err(_)) => {
                // What it answered before may still be read, and tells why.
                self.refused = true;
                false
            }
            Poll::Ready(Ok(())) | Poll::Pending => request == Moved::Full && up.has_room(),
        }
    }

    fn poll_head(
        &mut self,
        flow: &mut Flow<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Box<ResponseHead>, Fault>> {
        let Some(up) = &mut self.up else {
            return Poll::Ready(Err(Fault::Protocol));
        };
        loop {
            match up.poll_head(cx, &flow.core.buffers) {
                Poll::Ready(Ok(mut head)) if head.is_informational() => {
                    // The dialect matters to final heads only.
                    let version = flow.record.version();
                    forward::respond(&mut head, &Dialect::GatewayApi, version, None);
                    flow.client.down.send_informational(*head);
                }
                other @ (Poll::Ready(_) | Poll::Pending) => return other,
            }
        }
    }

    /// Moves body bytes from the upstream to the client's queue. At the end, the upstream's
    /// connection goes back to the pool before the last bytes are written.
    fn move_response(&mut self, flow: &mut Flow<'_>, cx: &mut Context<'_>) -> Result<Moved, Cut> {
        let Some(up) = &mut self.up else {
            return Ok(Moved::Done);
        };
        loop {
            if !flow.client.down.has_room() {
                return Ok(Moved::Full);
            }
            match up.poll_body(cx, &flow.core.buffers) {
                Poll::Ready(Ok(BodyEvent::Data(data))) => {
                    flow.record.count_sent(data.len());
                    flow.client.down.push(data);
                }
                Poll::Ready(Ok(BodyEvent::End(trailers))) => {
                    if let Some(trailers) = &trailers {
                        flow.record.note_trailers(trailers);
                    }
                    flow.client.down.finish(trailers);
                    break;
                }
                Poll::Ready(Err(fault)) => return Err(Cut::from(&fault)),
                Poll::Pending => return Ok(Moved::Waiting),
            }
        }
        if let Some(up) = self.up.take() {
            flow.release(up);
        }
        Ok(Moved::Done)
    }
}

/// Nothing moves: watches the client and the clock.
fn poll_idle(flow: &mut Flow<'_>, cx: &mut Context<'_>, request: Moved) -> Poll<Idle> {
    // A client that is waited for in `move_request` is watched there.
    let watched = request == Moved::Waiting;
    flow.client.poll_idle(cx, flow.core, !watched)
}
